'use strict';

/** What the till keeps in IndexedDB: all it needs to sell without a network. Page and service worker share it. */
const store = (() => {
  let opened;

  function open() {
    return (opened ||= new Promise((resolve, reject) => {
      const request = indexedDB.open('corner-shop', 1);
      request.onupgradeneeded = () => {
        const db = request.result;
        db.createObjectStore('products', { keyPath: 'id' });
        db.createObjectStore('cart', { keyPath: 'id' });
        // What was sold and is not known to be with the shop's server.
        db.createObjectStore('sales', { keyPath: 'id' });
        // Who may log in without a network, each with a salted hash of the PIN.
        db.createObjectStore('cashiers', { keyPath: 'id' });
        db.createObjectStore('settings', { keyPath: 'name' });
      };
      request.onsuccess = () => {
        request.result.onclose = () => (opened = undefined);
        resolve(request.result);
      };
      request.onerror = () => {
        opened = undefined;
        reject(request.error);
      };
    }));
  }

  /** Runs `work` in one transaction, and gives the result of the request that it returns. */
  async function run(names, mode, work) {
    const db = await open();
    return new Promise((resolve, reject) => {
      const transaction = db.transaction(names, mode, { durability: mode === 'readwrite' ? 'strict' : 'default' });
      const request = work(...[names].flat().map((name) => transaction.objectStore(name)));
      transaction.oncomplete = () => resolve(request?.result);
      transaction.onabort = () => reject(transaction.error);
    });
  }

  const all = (name) => run(name, 'readonly', (objects) => objects.getAll());
  const put = (name, value) => run(name, 'readwrite', (objects) => objects.put(value));
  const remove = (name, keys) => run(name, 'readwrite', (objects) => void keys.map((key) => objects.delete(key)));
  const setting = async (name) => (await run('settings', 'readonly', (objects) => objects.get(name)))?.value;
  const keepSetting = (name, value) => put('settings', { name, value });

  /** Takes the place of all products there were. */
  const keepProducts = (products) =>
    run('products', 'readwrite', (objects) => {
      objects.clear();
      for (const product of products) objects.put(product);
    });

  /** Puts a sale into the queue and empties the cart: both, or neither. */
  const sell = (sale) =>
    run(['sales', 'cart'], 'readwrite', (sales, cart) => {
      sales.add(sale);
      cart.clear();
    });

  // Guessing a PIN from its hash is to take long. Four digits are few all the same, so what is kept here runs out.
  const ITERATIONS = 210_000;
  const OFFLINE_LOGIN_DAYS = 7;

  async function hashOf(pin, salt) {
    const key = await crypto.subtle.importKey('raw', new TextEncoder().encode(pin), 'PBKDF2', false, ['deriveBits']);
    const bits = await crypto.subtle.deriveBits({ name: 'PBKDF2', hash: 'SHA-256', salt, iterations: ITERATIONS }, key, 256);
    return Array.from(new Uint8Array(bits), (byte) => byte.toString(16).padStart(2, '0')).join('');
  }

  /** Remembers somebody whom the server has let in. */
  async function keepCashier({ id, name }, pin) {
    const salt = crypto.getRandomValues(new Uint8Array(16));
    const until = Date.now() + OFFLINE_LOGIN_DAYS * 24 * 3_600_000;
    await put('cashiers', { id, name, salt, hash: await hashOf(pin, salt), until });
  }

  /** The cashier with this PIN among those whom the server has let in lately. */
  async function cashierOf(pin) {
    for (const cashier of await all('cashiers'))
      if (cashier.until > Date.now() && (await hashOf(pin, cashier.salt)) === cashier.hash) return cashier;
  }

  return { all, put, remove, setting, keepSetting, keepProducts, sell, keepCashier, cashierOf };
})();
