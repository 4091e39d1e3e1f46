// The Odoo module without an Odoo: its manifest, and its front end against stand-ins for the classes that it patches.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';

const addons = new URL('../odoo/', import.meta.url);
const module = new URL('tillwatch_pos/', addons);
const textOf = (path) => readFileSync(new URL(path, module), 'utf8');

const LIBRARY = 'tillwatch_pos/static/lib/tillwatch/tillwatch.js';

test('every file that the manifest names is there, and the SDK comes first', () => {
  const manifest = textOf('__manifest__.py');
  const assets = [...manifest.matchAll(/"(tillwatch_pos\/[^"]+)"/g)].map(([, path]) => path);
  assert.equal(assets[0], LIBRARY);
  // The SDK is copied into its folder by hand, as the README says.
  assert.ok(existsSync(new URL('../../sdk/dist/tillwatch.js', import.meta.url)));
  assert.match(readFileSync(new URL('README.md', addons), 'utf8'), /cp sdk\/dist\/tillwatch\.js examples\/odoo\/tillwatch_pos\/static\/lib\/tillwatch\//);
  assert.ok(existsSync(new URL('static/lib/tillwatch/', module)));
  for (const path of assets.slice(1)) assert.ok(existsSync(new URL(path, addons)), path);

  const data = [.../"data": \[([^\]]*)\]/.exec(manifest)[1].matchAll(/"([^"]+)"/g)].map(([, path]) => path);
  assert.ok(data.length > 0);
  for (const path of data) assert.ok(existsSync(new URL(path, module)), path);
  assert.match(manifest, /"depends": \["point_of_sale"\]/);
  assert.ok(manifest.includes(`"version": "${/tillwatch_pos-([\d.]+)/.exec(textOf('static/src/tillwatch.js'))[1]}"`));
});

test('every source of the front end is in the manifest', () => {
  const manifest = textOf('__manifest__.py');
  for (const name of readdirSync(new URL('static/src/', module))) assert.ok(manifest.includes(`tillwatch_pos/static/src/${name}`), name);
});

test('model, settings, view and front end speak of the same fields', () => {
  const names = [...textOf('models/pos_config.py').matchAll(/^ {4}(tillwatch_\w+) = fields/gm)].map(([, name]) => name);
  assert.deepEqual(names, ['tillwatch_url', 'tillwatch_store_id', 'tillwatch_token', 'tillwatch_consent']);
  for (const name of names) {
    assert.ok(textOf('models/res_config_settings.py').includes(`pos_${name} = fields`), name);
    assert.ok(textOf('models/res_config_settings.py').includes(`related="pos_config_id.${name}"`), name);
    assert.ok(textOf('views/res_config_settings_views.xml').includes(`<field name="pos_${name}"`), name);
    assert.ok(textOf('static/src/tillwatch.js').includes(name), name);
  }
});

/** Loads the front end with stand-ins, and keeps account of what is called. */
let loads = 0;
async function load({ isOffline = false } = {}) {
  const calls = [];
  const keep = new Map();
  const note = (name) => (...given) => void calls.push([name, ...given]);
  const tillwatch = {
    init: note('init'),
    error: (error) => {
      throw error;
    },
    measureIndexedDb: note('measureIndexedDb'),
    time: (metric, work) => (note('time')(metric), work()),
    offlineLogin: async (work) => note('offlineLogin')(await work()),
    syncQueue: () => ({
      pending: note('pending'),
      waited: note('waited'),
      transaction: note('transaction'),
      sync: async (work) => {
        try {
          note('sync')((await work()).items);
        } catch (error) {
          note('sync')('failure');
          throw error;
        }
      },
    }),
  };

  class PosStore {
    syncingOrders = new Set();
    orders = [];
    data = { network: { offline: isOffline } };
    device = { identifier: '2' };
    config = { id: 7, tillwatch_url: 'https://rum.example.com', tillwatch_store_id: 'store-017', tillwatch_token: 't', tillwatch_consent: true };
    async setup() {}
    getPendingOrder() {
      return { orderToCreate: this.orders.filter((order) => order.isDirty()), orderToUpdate: [] };
    }
    async syncAllOrders(options = {}) {
      if (this.data.network.offline) return new Error('offline');
      const due = this.orders.filter((order) => order.isDirty());
      if (!due.length) return;
      if (this.isBroken && options.throw) throw new Error('refused');
      if (this.isBroken) return [];
      for (const order of due) order.isDirty = () => false;
      return due;
    }
    getProductsBySearchWord(word, products) {
      return products.filter((product) => product.includes(word));
    }
  }
  class LoginScreen {
    constructor(pos) {
      this.pos = pos;
    }
    setup() {}
    selectOneCashier(cashier) {
      this.pos.cashier = cashier;
    }
  }
  const patch = (target, extension) => {
    const before = Object.create(Object.getPrototypeOf(target), Object.getOwnPropertyDescriptors(target));
    Object.setPrototypeOf(extension, before);
    for (const [key, property] of Object.entries(Object.getOwnPropertyDescriptors(extension))) Object.defineProperty(target, key, property);
  };

  const stand = `stand${loads++}`;
  globalThis[stand] = {
    PosStore,
    LoginScreen,
    patch,
    window: { tillwatch },
    localStorage: { getItem: (key) => keep.get(key) ?? null, setItem: (key, value) => keep.set(key, value) },
  };
  const source = textOf('static/src/tillwatch.js').replace(/^import \{ (\w+) \} from .*$/gm, `const { $1 } = globalThis.${stand};`);
  const head = `const { window, localStorage } = globalThis.${stand};`;
  await import('data:text/javascript,' + encodeURIComponent(head + source));
  delete globalThis[stand];
  const pos = new PosStore();
  await pos.setup();
  const of = (name) => calls.filter(([called]) => called === name).map(([, ...given]) => given);
  return { pos, LoginScreen, of };
}

const paid = (uuid) => ({ uuid, finalized: true, isDirty: () => true });

test('the register’s settings reach the SDK, and without them nothing begins', async () => {
  const { pos, of } = await load();
  assert.deepEqual(of('init'), [
    [{ url: 'https://rum.example.com', store: 'store-017', terminal: 'pos-7-2', token: 't', consent: true, release: 'tillwatch_pos-19.0.1.0.0' }],
  ]);
  pos.config.tillwatch_url = false;
  await pos.setup();
  assert.equal(of('init').length, 1);
});

test('a synchronisation is measured if there is something to send', async () => {
  const { pos, of } = await load();
  assert.equal(await pos.syncAllOrders(), undefined);
  assert.deepEqual(of('sync'), []);
  pos.orders.push(paid('a'), paid('b'));
  assert.equal((await pos.syncAllOrders()).length, 2);
  assert.deepEqual(of('sync'), [[2]]);
  assert.deepEqual(of('pending').at(-1), [0]);
  assert.deepEqual(of('transaction'), []);
});

test('a failure is counted, and Point of Sale sees what it would have seen without the module', async () => {
  const { pos, of } = await load();
  pos.orders.push(paid('a'));
  pos.isBroken = true;
  assert.deepEqual(await pos.syncAllOrders(), []);
  await assert.rejects(pos.syncAllOrders({ throw: true }), /refused/);
  assert.deepEqual(of('sync'), [['failure'], ['failure']]);
  assert.deepEqual(of('pending').at(-1), [1]);
});

test('what was sold without a network is counted once, when it arrives', async () => {
  const { pos, of } = await load({ isOffline: true });
  pos.orders.push(paid('a'), paid('b'), { ...paid('draft'), finalized: false });
  assert.ok((await pos.syncAllOrders()) instanceof Error);
  await pos.syncAllOrders();
  assert.deepEqual(of('sync'), []);
  assert.deepEqual(of('pending').at(-1), [2]);
  pos.data.network.offline = false;
  await pos.syncAllOrders();
  pos.orders.push(paid('c'));
  await pos.syncAllOrders();
  assert.deepEqual(of('sync'), [[3], [1]]);
  assert.deepEqual(of('transaction'), [[true], [true]]);
  assert.equal(of('waited').length, 2);
});

test('a search is measured for each new word, not for each time that the list is drawn', async () => {
  const { pos, of } = await load();
  const products = ['apple', 'pear'];
  for (const word of ['app', 'app', 'pea', 'app']) assert.equal(pos.getProductsBySearchWord(word, products).length, 1);
  assert.equal(of('time').length, 3);
});

test('a login counts while there is no network: Odoo’s own, and that of an employee with a PIN', async () => {
  const { pos, LoginScreen, of } = await load({ isOffline: true });
  const plain = new LoginScreen(pos);
  plain.setup();
  plain.selectOneCashier('admin');
  assert.equal(pos.cashier, 'admin');
  await null;
  assert.deepEqual(of('offlineLogin'), [[true]]);

  // What `pos_hr` adds.
  LoginScreen.prototype.selectCashier = async (pin) => (pin === '1234' ? 'Ada' : undefined);
  pos.config.module_pos_hr = true;
  const screen = new LoginScreen(pos);
  screen.setup();
  assert.equal(await screen.selectCashier('1234', true), 'Ada');
  assert.equal(await screen.selectCashier('9999', true), undefined);
  await screen.selectCashier(false, true);
  assert.deepEqual(of('offlineLogin'), [[true], [true], [false]]);
  pos.data.network.offline = false;
  await screen.selectCashier('1234', true);
  assert.equal(of('offlineLogin').length, 3);
});
