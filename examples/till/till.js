'use strict';

// A till that sells without a network. What it tells tillwatch is all in the calls of `tillwatch.…`.

const byId = (id) => document.getElementById(id);
const euros = (cents) => new Intl.NumberFormat('en-IE', { style: 'currency', currency: 'EUR' }).format(cents / 100);

/** Makes an element with attributes and children. */
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const name in attributes) element.setAttribute(name, attributes[name]);
  element.append(...children);
  return element;
}

let hiding;
function say(text) {
  byId('toast').textContent = text;
  byId('toast').classList.add('is-shown');
  clearTimeout(hiding);
  hiding = setTimeout(() => byId('toast').classList.remove('is-shown'), 3500);
}

// ---------------------------------------------------------------- The line

const ANSWER_WITHIN_MS = 10_000;

/** Whether the shop's server answered last. */
let isReachable = true;

function setReachable(isIt) {
  isReachable = isIt;
  document.body.classList.toggle('is-offline', !isIt);
  const text = isIt ? 'Online' : 'Offline – selling goes on';
  if (byId('line-state').textContent !== text) byId('line-state').textContent = text;
}

/** Asks the shop's server. Throws if there is no answer. */
async function ask(path, body) {
  try {
    const posting = body && { method: 'POST', body, headers: { 'content-type': 'application/json' } };
    const response = await fetch(path, { ...posting, signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
    setReachable(true);
    return response;
  } catch (error) {
    setReachable(false);
    throw error;
  }
}

addEventListener('offline', () => setReachable(false));
addEventListener('online', () => synchronise());

// ---------------------------------------------------------------- Who is at the till

let cashier;

const GUESSES_MAX = 5;
const PAUSE_MS = 30_000;
let guesses = 0;
let pausedUntil = 0;

/** The person with this PIN: as the server says or, without a network, as this till remembers. */
async function whoHas(pin) {
  if (isReachable)
    try {
      const response = await ask('/api/login', JSON.stringify({ pin }));
      if (!response.ok) {
        tillwatch.count('login_failures');
        return;
      }
      const person = await response.json();
      await store.keepCashier(person, pin);
      return person;
    } catch {
      // No answer: what this till remembers decides.
    }
  let person;
  await tillwatch.offlineLogin(async () => Boolean((person = await store.cashierOf(pin))));
  return person;
}

async function logIn(pin) {
  const message = byId('login-message');
  message.textContent = '';
  if (Date.now() < pausedUntil) {
    message.textContent = 'Too many wrong PINs: wait half a minute.';
    return;
  }
  const person = await whoHas(pin);
  byId('pin').value = '';
  if (!person) {
    if (++guesses % GUESSES_MAX === 0) pausedUntil = Date.now() + PAUSE_MS;
    message.textContent = isReachable ? 'Nobody has this PIN.' : 'Nobody with this PIN has logged in here lately.';
    byId('pin').focus();
    return;
  }
  guesses = 0;
  cashier = { id: person.id, name: person.name };
  await store.keepSetting('cashier', cashier);
  showCashier();
  say(isReachable ? `Hello ${cashier.name}.` : `Hello ${cashier.name}. This till let you in by itself.`);
  byId('search').focus();
}

async function logOut() {
  cashier = undefined;
  await store.keepSetting('cashier', undefined);
  showCashier();
  byId('pin').focus();
}

function showCashier() {
  byId('login').hidden = Boolean(cashier);
  for (const id of ['shelf', 'cart', 'cashier', 'log-out']) byId(id).hidden = !cashier;
  byId('cashier').textContent = cashier?.name ?? '';
}

for (const digit of '1234567890') {
  const key = make('button', { type: 'button' }, digit);
  key.addEventListener('click', () => {
    if (byId('pin').value.length < 4) byId('pin').value += digit;
  });
  byId('keys').append(key);
}

byId('login-form').addEventListener('submit', (event) => {
  event.preventDefault();
  logIn(byId('pin').value);
});
byId('log-out').addEventListener('click', logOut);

// ---------------------------------------------------------------- Products

let category = 'All';

/** Products of the category chosen that have each of the words in their name, or this barcode. */
async function find(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const products = await store.all('products');
  return products.filter(
    (product) =>
      (category === 'All' || product.category === category) &&
      words.every((word) => product.name.toLowerCase().includes(word) || product.barcode === word),
  );
}

async function showProducts() {
  const text = byId('search').value;
  const found = await find(text);
  byId('found').textContent = text && `${found.length} ${found.length === 1 ? 'product' : 'products'} found`;
  byId('products').replaceChildren(
    ...found.map((product) => {
      const button = make(
        'button',
        { class: 'product', type: 'button' },
        make('img', { src: product.image, alt: '', width: '96', height: '70' }),
        make('span', { class: 'product-name' }, product.name),
        make('span', { class: 'product-price' }, euros(product.cents)),
      );
      button.addEventListener('click', () => addToCart(product, 1));
      return make('li', {}, button);
    }),
  );
}

function showCategories(products) {
  const names = ['All', ...new Set(products.map((product) => product.category))];
  byId('chips').replaceChildren(
    ...names.map((name) => {
      const chip = make('button', { type: 'button', 'aria-pressed': String(name === category) }, name);
      chip.addEventListener('click', () => {
        category = name;
        for (const other of byId('chips').children) other.setAttribute('aria-pressed', String(other === chip));
        showProducts();
      });
      return chip;
    }),
  );
}

async function loadProducts() {
  const known = await store.all('products');
  if (known.length) {
    showCategories(known);
    await showProducts();
  }
  try {
    // The service worker answers this from its cache, also without a network.
    const response = await fetch('/api/products');
    if (!response.ok) return;
    const products = await response.json();
    await store.keepProducts(products);
    showCategories(products);
    await showProducts();
  } catch {
    // This till goes on with the products and prices that it knows.
  }
}

// A search counts when the typing pauses, not with every letter.
let typing;
byId('search').addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    if (byId('search').value) tillwatch.time('product_search_ms', showProducts);
    else showProducts();
  }, 150);
});

// ---------------------------------------------------------------- Cart

const cart = new Map();

function showCart() {
  const lines = [...cart.values()];
  byId('cart-empty').hidden = lines.length > 0;
  byId('sell').disabled = !lines.length;
  byId('total').textContent = euros(lines.reduce((sum, { cents, quantity }) => sum + cents * quantity, 0));
  byId('lines').replaceChildren(
    ...lines.map((line) => {
      const change = (sign, by, what) => {
        const button = make('button', { type: 'button', 'aria-label': `${what} ${line.name}` }, sign);
        button.addEventListener('click', () => {
          addToCart(line, by);
          // The list was drawn anew; whoever uses the keyboard stays where they were.
          document.querySelector(`[aria-label="${what} ${line.name}"]`)?.focus();
        });
        return button;
      };
      return make(
        'li',
        {},
        make('span', { class: 'line-name' }, line.name),
        make('span', { class: 'line-sum' }, euros(line.cents * line.quantity)),
        make('span', { class: 'line-each' }, `${euros(line.cents)} each`),
        make('span', { class: 'count' }, change('−', -1, 'One less of'), make('output', {}, String(line.quantity)), change('+', 1, 'One more of')),
      );
    }),
  );
}

function addToCart({ id, name, cents }, by) {
  const quantity = (cart.get(id)?.quantity ?? 0) + by;
  if (quantity > 0) cart.set(id, { id, name, cents, quantity });
  else cart.delete(id);
  showCart();
  return quantity > 0 ? store.put('cart', cart.get(id)) : store.remove('cart', [id]);
}

// ---------------------------------------------------------------- Selling, and bringing it to the shop's server

const SALES_PER_REQUEST = 50;
const LOOK_EVERY_MS = 2000;
const TELL_EVERY_MS = 60_000;

const sync = tillwatch.syncQueue();

async function showPending() {
  const { length } = await store.all('sales');
  sync.pending(length);
  const text = length === 0 ? 'No sales waiting' : length === 1 ? '1 sale waiting' : `${length} sales waiting`;
  if (byId('pending').textContent !== text) byId('pending').textContent = text;
  byId('pending').classList.toggle('is-waiting', length > 0);
}

async function sell() {
  const lines = [...cart.values()];
  if (!lines.length) return;
  byId('sell').disabled = true;
  const cents = lines.reduce((sum, { cents, quantity }) => sum + cents * quantity, 0);
  const sold = { id: crypto.randomUUID(), soldAt: Date.now(), cashier: cashier.id, lines, cents, isOffline: !isReachable };
  // Only when it is on disk is it sold.
  await store.sell(sold);
  cart.clear();
  showCart();
  say(`Sold for ${euros(cents)}${isReachable ? '.' : ' – kept until there is a network.'}`);
  await showPending();
  synchronise();
}

async function bring() {
  if (!isReachable) await ask('/api/ping');
  // What a till sold while it was offline is brought at once, a request at a time, and does not wait for the next look.
  while (await bringSome());
}

/** Brings as many sales as a request may have. Says whether the server took any. */
async function bringSome() {
  const sales = (await store.all('sales')).slice(0, SALES_PER_REQUEST);
  if (!sales.length) return false;
  let taken;
  await sync.sync(async () => {
    const body = JSON.stringify({ sales });
    const response = await ask('/api/sales', body);
    if (!response.ok) throw new Error(`The server refused the sales with ${response.status}.`);
    ({ taken } = await response.json());
    await store.remove('sales', taken);
    for (const { soldAt, isOffline } of sales) {
      sync.waited(Date.now() - soldAt);
      if (isOffline) sync.transaction(true);
    }
    return { items: sales.length, bytes: new Blob([body]).size };
  });
  await showPending();
  return taken.length > 0;
}

/** Brings what waits to the shop's server, in one tab at a time. Without a network it stays where it is. */
const synchronise = () =>
  navigator.locks.request('corner-shop-sync', { ifAvailable: true }, (lock) => lock && bring()).catch(() => {});

byId('sell').addEventListener('click', sell);
setInterval(synchronise, LOOK_EVERY_MS);
// A queue that stays as it is is told as well, so that what the collector knows of it is never old.
setInterval(showPending, TELL_EVERY_MS);

// ---------------------------------------------------------------- The demonstration: plug, slowness, errors, consent

let isPulled = false;

/** Reads or changes the state of the line. This address answers whatever happens to the line. */
async function plug(change) {
  const posting = change && { method: 'POST', body: JSON.stringify(change), headers: { 'content-type': 'application/json' } };
  const line = await (await fetch('/plug', posting)).json();
  byId('plug').classList.toggle('is-pulled', line.isPulled);
  byId('plug-text').textContent = line.isPulled ? 'Put it back in' : 'Pull the plug';
  byId('slow').checked = line.isSlow;
  if (line.isPulled === isPulled) return;
  isPulled = line.isPulled;
  // As a browser does whose cable is pulled: both the till and tillwatch listen to it.
  dispatchEvent(new Event(isPulled ? 'offline' : 'online'));
}

byId('plug').addEventListener('click', () => plug({ isPulled: !isPulled }));
byId('slow').addEventListener('change', () => plug({ isSlow: byId('slow').checked }));

byId('cause-error').addEventListener('click', () => {
  say('The page threw an error, and goes on.');
  throw new Error('The receipt printer is out of paper.');
});

byId('consent').addEventListener('change', async () => {
  const isGiven = byId('consent').checked;
  await store.keepSetting('consent', isGiven);
  await tillwatch.setConsent(isGiven);
  if (isGiven) navigator.serviceWorker.controller?.postMessage('consent');
  say(isGiven ? 'This till measures again.' : 'Nothing is measured, and what waited is deleted.');
});

// ---------------------------------------------------------------- What tillwatch sees

function see(name, text) {
  const place = byId(`see-${name}`);
  if (place.textContent === text) return;
  place.textContent = text;
  place.classList.remove('is-fresh');
  // Without reading a size in between, the animation would not begin anew.
  void place.offsetWidth;
  place.classList.add('is-fresh');
}

async function seeTill() {
  const { connection, waiting, posts, answer, code, takenAt, dropped } = await tillwatch.status();
  const seconds = Math.round((Date.now() - takenAt) / 1000);
  const lost = Object.values(dropped).reduce((sum, n) => sum + n, 0);
  see('connection', connection);
  see('waiting', `${waiting.samples} samples, ${(waiting.bytes / 1000).toFixed(1)} kB`);
  byId('see-answer').textContent = answer === undefined ? '–' : answer === 0 ? 'none' : `${code ?? answer}${takenAt ? `, ${seconds} s ago` : ''}`;
  see('posts', `${posts}, ${lost}`);
}

const watch = (path) => fetch('/watch' + path);

/** One point of the query API: of this shop, over the last hour. */
async function point(metric, options = '') {
  const response = await watch(`/api/v1/percentiles?store_id=corner-shop&metric=${metric}${options}`);
  if (!response.ok) return;
  const { series } = await response.json();
  return series[0]?.points[0];
}

const milliseconds = (value) => (value === undefined ? '–' : value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`);

async function seeCollector() {
  const percentile = async (name, metric, q) => see(name, milliseconds((await point(metric, `&q=${q}`))?.values[q]));
  await percentile('sync', 'sync_duration_ms', '0.95');
  await percentile('lcp', 'lcp_ms', '0.75');
  await percentile('search', 'product_search_ms', '0.95');
  const sum = async (metric, label) => (await point(metric, label && `&label=${label}`))?.sum ?? 0;
  see('logins', String(await sum('offline_logins', 'success')));
  see('offline-sales', String(await sum('offline_transactions', 'success')));
  const hits = await sum('cache_requests', 'hit');
  const asked = hits + (await sum('cache_requests', 'miss'));
  see('cache', asked ? `${Math.round((100 * hits) / asked)} % of ${asked}` : '–');
  see('errors', String(await sum('errors')));
  const fleet = await (await watch('/metrics/fleet')).text();
  const pending = /^pos_pending_transactions\{store_id="corner-shop",stat="max"\} (\S+)/m.exec(fleet);
  see('pending', pending ? String(Number(pending[1])) : '–');
}

/** Does something again and again, with a pause after each time. */
async function repeat(work, pauseMs) {
  for (;;) {
    // A hidden page has nobody to show numbers to.
    if (!document.hidden) await work().catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

// ---------------------------------------------------------------- The beginning

async function begin() {
  tillwatch.measureIndexedDb();
  const options = await watchOptions();
  tillwatch.init(options);
  byId('terminal').textContent = options.terminal;
  byId('consent').checked = options.consent;

  // Whoever was logged in when the page was left still is.
  await tillwatch.time('session_restore_ms', async () => {
    cashier = await store.setting('cashier');
    for (const line of await store.all('cart')) cart.set(line.id, line);
  });
  showCashier();
  showCart();
  if (!cashier) byId('pin').focus();
  await plug().catch(() => {});
  await loadProducts();
  await showPending();

  navigator.serviceWorker?.register('/sw.js').catch(tillwatch.error);
  repeat(seeTill, 1000);
  repeat(seeCollector, 2000);
}

begin();
