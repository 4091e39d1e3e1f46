// Posts batches of many stores at a steady rate until it is ended: node load.mjs URL STORES RATE. It says `ready` when each store has
// reported once.
import { FleetLoad } from './fleet_load.mjs';

const [stores, rate] = process.argv.slice(3).map(Number);
const load = new FleetLoad(process.argv[2], stores);
const began = performance.now();
let answered = 0;
setInterval(() => console.log(`sent ${load.sent} answered ${answered} in ${((performance.now() - began) / 1000).toFixed(1)} s`), 5_000);
await load.run(rate, () => false, (posted) => {
  posted.then(() => {
    answered += 1;
    if (answered === stores) console.log('ready');
  }, (error) => console.log(error.message));
});
