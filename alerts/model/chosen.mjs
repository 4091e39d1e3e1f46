// The numbers that the rules of alerts/rules have. Tests compare them with the files.

/** None bad in the last minute, or two, where so many would be: what is over pages nobody. */
const RECOVERED = [
  { minutes: 1, expected: 3 },
  { minutes: 2, expected: 2 },
];

/** A share of bad attempts that pages: 5 % of synchronisations over 5 s, or failed. */
export const PAGE = {
  limit: 0.05,
  for: 1,
  keep: 8,
  recovered: RECOVERED,
  windows: [
    { minutes: 4, z: 3.5, least: 5, tills: 4 },
    { minutes: 15, z: 4, least: 5, tills: 4 },
  ],
};

/** A store that the fleet's rule counts as bad: what is weak in each store is strong in a fifth of them. */
export const SUSPECT = {
  limit: 0.05,
  for: 0,
  keep: 15,
  recovered: RECOVERED,
  windows: [
    { minutes: 4, z: 2, least: 2 },
    { minutes: 15, z: 2, least: 2 },
  ],
};
/** Either will do: a fifth of the stores, or a tenth where that is ten or more. */
export const FLEET = [
  { share: 0.2, least: 3 },
  { share: 0.1, least: 10 },
];

/** Slow ones for hours, where a quarter of an hour says too little; the condition on the last hour is left out. */
export const HOURS = {
  limit: 0.05,
  for: 12,
  keep: 15,
  windows: [{ minutes: 360, z: 4, least: 5, tills: 2, tillsOver: 60 }],
};

/** A share of failures that goes to the chat: 1 %. */
export const WARN = {
  limit: 0.01,
  for: 10,
  keep: 15,
  windows: [
    { minutes: 60, z: 6, least: 10, tills: 2 },
    { minutes: 360, z: 6, least: 10, tills: 2, tillsOver: 60 },
  ],
};

/**
 * A store that is probably worse than it should be by its own week and by the others: the odds of a bad attempt, against
 * those that are expected.
 */
export const ANOMALY = {
  factor: 2.5,
  floor: 0.01,
  for: 10,
  keep: 60,
  windows: [
    { minutes: 60, z: 6, least: 10 },
    { minutes: 360, z: 6, least: 10 },
    { minutes: 1440, z: 6, least: 10 },
  ],
  /** Attempts that a store needs in a window, and stores that have them, for there to be a median. */
  peersOf: 20,
  peersLeast: 5,
  /** Attempts of the week before the longest window. */
  weekLeast: 100,
};

/**
 * A release that fails, and not just one of its stores: `elsewhere` is what has to be left without the store that fails
 * most, of whatever release. Series by release do not say which stores run it.
 */
export const RELEASE = {
  sync: { minutes: 30, for: 5, limit: 0.05, elsewhere: 0.025, least: 10 },
  logins: { minutes: 60, for: 10, limit: 0.01, z: 4 },
  errors: { minutes: 60, for: 15, times: 2, least: 50 },
};
