/** @odoo-module **/

import { LoginScreen } from "@point_of_sale/app/screens/login_screen/login_screen";
import { PosStore } from "@point_of_sale/app/services/pos_store";
import { patch } from "@web/core/utils/patch";

const { tillwatch } = window;

/** The version of this module, which the collector shows as the release. */
const RELEASE = "tillwatch_pos-19.0.1.0.0";

/** Sales made without a network, by the order's uuid, and when. They must outlive a reload. */
const OFFLINE_SALES = "tillwatch_pos.offline_sales";

const sync = tillwatch.syncQueue();
tillwatch.measureIndexedDb();

let lastSearch;

/** Without an address and a store there is nobody to measure for. What is called before this is not recorded. */
function begin(pos) {
    const { id, tillwatch_url, tillwatch_store_id, tillwatch_token, tillwatch_consent } = pos.config;
    if (!tillwatch_url || !tillwatch_store_id) {
        return;
    }
    tillwatch.init({
        url: tillwatch_url,
        store: tillwatch_store_id,
        // One register can be open on several devices; Odoo tells them apart by this.
        terminal: `pos-${id}-${pos.device.identifier || 0}`,
        token: tillwatch_token || undefined,
        consent: Boolean(tillwatch_consent),
        release: RELEASE,
    });
}

/** What measures must never keep a till from selling. */
function safely(work) {
    try {
        return work();
    } catch (error) {
        tillwatch.error(error);
    }
}

/** Orders that are paid and that the server does not have, or not as they are now. */
function unsynced(pos) {
    const { orderToCreate, orderToUpdate } = pos.getPendingOrder();
    return [...orderToCreate, ...orderToUpdate].filter((order) => order.finalized);
}

const offlineSales = () => JSON.parse(localStorage.getItem(OFFLINE_SALES) || "{}");

/** Point of Sale tries to synchronise after each sale, also when it knows that there is no network. */
function rememberOfflineSales(pos) {
    const sales = offlineSales();
    for (const { uuid } of unsynced(pos)) {
        sales[uuid] ||= Date.now();
    }
    localStorage.setItem(OFFLINE_SALES, JSON.stringify(sales));
}

function forgetOfflineSales(orders) {
    const sales = offlineSales();
    for (const { uuid } of orders) {
        if (sales[uuid]) {
            sync.waited(Math.max(0, Date.now() - sales[uuid]));
            sync.transaction(true);
            delete sales[uuid];
        }
    }
    localStorage.setItem(OFFLINE_SALES, JSON.stringify(sales));
}

patch(PosStore.prototype, {
    async setup() {
        await super.setup(...arguments);
        safely(() => begin(this));
        safely(() => sync.pending(unsynced(this).length));
    },

    async syncAllOrders(options = {}) {
        const call = () => super.syncAllOrders(...arguments);
        const due = safely(() => {
            if (this.data.network.offline) {
                rememberOfflineSales(this);
                return [];
            }
            const { orderToCreate, orderToUpdate } = this.getPendingOrder();
            const orders = options.orders || [...orderToCreate, ...orderToUpdate];
            // As Point of Sale itself chooses what to send.
            return orders.filter(
                (order) => !this.syncingOrders.has(order.uuid) && (order.isDirty() || options.force)
            );
        });
        try {
            return due?.length ? await measured(call, due.length) : await call();
        } finally {
            safely(() => sync.pending(unsynced(this).length));
        }
    },

    getProductsBySearchWord(searchWord) {
        const search = () => super.getProductsBySearchWord(...arguments);
        // The list of products is drawn anew for many reasons; only another word is another search.
        if (searchWord === lastSearch) {
            return search();
        }
        lastSearch = searchWord;
        return tillwatch.time("product_search_ms", search);
    },
});

/** One synchronisation. Unless it is to throw, Point of Sale keeps a failure to itself and returns fewer orders. */
async function measured(call, due) {
    let result;
    const isIncomplete = new Error("some orders were not synchronised");
    try {
        await sync.sync(async () => {
            result = await call();
            const arrived = Array.isArray(result) ? result : [];
            safely(() => forgetOfflineSales(arrived));
            if (arrived.length < due) {
                throw isIncomplete;
            }
            return { items: arrived.length };
        });
    } catch (error) {
        if (error !== isIncomplete) {
            throw error;
        }
    }
    return result;
}

patch(LoginScreen.prototype, {
    setup() {
        super.setup(...arguments);
        // `pos_hr` adds this: employees with a PIN, whom the till knows also without a network. With a PIN at hand, the
        // time it takes is the till's; without one it would be the time in which a person chooses.
        const { selectCashier } = this;
        if (selectCashier) {
            this.selectCashier = async (pin, ...others) => {
                if (!pin || !this.pos.data.network.offline) {
                    return selectCashier.call(this, pin, ...others);
                }
                let cashier;
                await tillwatch.offlineLogin(async () => {
                    cashier = await selectCashier.call(this, pin, ...others);
                    return Boolean(cashier);
                });
                return cashier;
            };
        }
    },

    /** The login of Point of Sale alone: whoever is logged in to Odoo takes the till. */
    selectOneCashier() {
        if (!this.pos.data.network.offline || this.pos.config.module_pos_hr) {
            return super.selectOneCashier(...arguments);
        }
        let result;
        tillwatch.offlineLogin(() => {
            result = super.selectOneCashier(...arguments);
            return true;
        });
        return result;
    },
});
