// What a busy till and a quiet one measure in a minute, for a page: `business(kind)` gives the calls of one minute.
// 163 values of distributions on the busy one, 16 on the quiet one, and counters and levels beside them.
(() => {
  let seed = 20261129;
  const random = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const logNormal = (median, sigma) => median * Math.exp(sigma * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()));
  const several = (n, make) => Array.from({ length: n }, make);
  const observe = (name, median, sigma, n) => several(n, () => ['observe', name, logNormal(median, sigma)]);
  const RATES = {
    busy: { lcp: 3, inp: 25, cls: 3, sync: 4, idb: 120, hit: 181, miss: 19, memory: 1 },
    quiet: { lcp: 1, inp: 3, cls: 1, sync: 1, idb: 8, hit: 9, miss: 1, memory: 1 },
  };
  self.business = (kind) => {
    const of = RATES[kind];
    const calls = [
      ...observe('lcp_ms', 1200, 0.5, of.lcp),
      ...observe('inp_ms', 90, 0.8, of.inp),
      ...several(of.cls, () => ['observe', 'cls_score', Math.min(100, logNormal(0.03, 1))]),
      ...observe('sync_duration_ms', 800, 0.6, of.sync),
      ...several(of.sync, () => ['observe', 'sync_payload_bytes', Math.round(logNormal(9000, 0.7))]),
      ...observe('queue_wait_ms', 4000, 1, of.sync),
      ...several(of.sync, () => ['count', 'sync_attempts', { label: random() < 0.99 ? 'success' : 'failure' }]),
      ...several(of.sync, () => ['level', 'pending_transactions', Math.floor(random() * 20)]),
      ...observe('idb_write_ms', 6, 0.7, of.idb),
      ...several(of.idb, () => ['count', 'idb_transaction_count']),
      ...several(of.hit, () => ['count', 'cache_requests', { label: 'hit' }]),
      ...several(of.miss, () => ['count', 'cache_requests', { label: 'miss' }]),
      ...several(of.memory, () => ['level', 'memory_used_mb', 40 + 20 * random()]),
      ...several(of.memory, () => ['level', 'db_size_mb', 12 + random()]),
    ];
    for (let at = calls.length - 1; at > 0; at--) {
      const other = Math.floor(random() * (at + 1));
      [calls[at], calls[other]] = [calls[other], calls[at]];
    }
    return calls;
  };
  self.make = (api, [name, ...given]) => api[name](...given);
  /** Makes the calls of `minutes` minutes in real time, evenly. */
  self.trade = async (api, kind, minutes) => {
    const began = performance.now();
    for (let minute = 0; minute < minutes; minute++) {
      const calls = business(kind);
      for (let nth = 0; nth < calls.length; nth++) {
        const wait = began + (minute + nth / calls.length) * 60_000 - performance.now();
        if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
        make(api, calls[nth]);
      }
    }
    const rest = began + minutes * 60_000 - performance.now();
    if (rest > 0) await new Promise((resolve) => setTimeout(resolve, rest));
  };
})();
