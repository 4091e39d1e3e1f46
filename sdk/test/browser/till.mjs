// One till: a browser with a profile of its own, and the ledger of what its page has recorded.
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { browser, folder, sleep, until } from './support.mjs';

export const PAGE = `<!doctype html><html lang=en><meta charset=utf-8><title>Till</title><link rel=icon href="data:,">
<h1>Till</h1><button id=pay>Pay</button><script src=/tillwatch.js></script>`;

let stores = 0;

export class Till {
  /** @param line the line to the collector @param options of `tillwatch.init` beside url, store, terminal */
  constructor(line, options = {}) {
    this.line = line;
    this.options = { url: line.url, store: `store-${++stores}-${process.pid}`, terminal: 'till-1', release: '1.0.0', consent: true, ...options };
    this.profile = folder('profile');
    /** When each value was recorded, by the clock of this process. */
    this.ledger = new Map();
    this.next = 1;
    this.errors = [];
  }

  get store() {
    return this.options.store;
  }

  async open(more = {}) {
    this.context ||= await browser(this.profile, more);
    this.page = await this.visit();
    return this;
  }

  /** Another tab. */
  async visit(path = '/') {
    const page = await this.context.newPage();
    page.on('pageerror', (error) => this.errors.push(error.message));
    await page.goto(this.line.url + path);
    await page.evaluate((options) => tillwatch.init(options), this.options);
    return page;
  }

  /** Records `n` values that nobody else records: below 2,048 each has a bucket of its own. */
  async record(n = 1, page = this.page) {
    const values = Array.from({ length: n }, () => this.next++);
    if (this.next > 2048) throw new Error('a ledger holds at most 2,047 values');
    await page.evaluate((values) => {
      for (const value of values) tillwatch.observe('sync_payload_bytes', value);
    }, values);
    const at = Date.now();
    for (const value of values) this.ledger.set(value, at);
    return values;
  }

  status(page = this.page) {
    return page.evaluate(() => tillwatch.status());
  }

  flush(page = this.page) {
    return page.evaluate(() => tillwatch.flush());
  }

  async close() {
    await this.context?.close().catch(() => {});
    this.context = undefined;
  }

  /** Power cut: every process of the browser ends at once. */
  async kill() {
    try {
      execFileSync('pkill', ['-KILL', '-f', `user-data-dir=${this.profile}`]);
    } catch {}
    await this.context?.close().catch(() => {});
    this.context = undefined;
    await sleep(100);
    rmSync(`${this.profile}/SingletonLock`, { force: true });
  }

  async end() {
    await this.close();
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }

  /** Which values ClickHouse has, and how often. */
  async found(collector) {
    return collector.values('sync_payload_bytes', this.store);
  }

  /**
   * Waits until ClickHouse has every value of the ledger that was recorded before `before`; none may be there twice, and
   * none that was never recorded.
   */
  async settled(collector, before = Infinity, ms = 90_000) {
    const due = [...this.ledger].filter(([, at]) => at < before).map(([value]) => value);
    let found;
    await until(async () => {
      found = await this.found(collector);
      return due.every((value) => found.has(value));
    }, `${due.length} values of ${this.store}`, ms).catch(async (error) => {
      const missing = due.filter((value) => !found.has(value));
      const status = await this.status().catch((why) => why.message);
      throw new Error(`${error.message}; missing ${missing.length}: ${missing.slice(0, 20)}; ${JSON.stringify(status)}`);
    });
    const wrong = [...found].filter(([value, n]) => n !== 1 || !this.ledger.has(value));
    if (wrong.length) throw new Error(`counted wrongly (value, times): ${JSON.stringify(wrong.slice(0, 20))}`);
    if (this.errors.length) throw new Error(`errors of the page: ${this.errors}`);
    return found.size;
  }
}
