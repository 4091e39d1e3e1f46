// What a page posts for itself, by where it posts it.

/** The doors of tillwatch: where pages post what they measured. A proxy may put a folder before the first three. */
const DOORS = ['/v1/batches', '/v1/metrics', '/pdc_pos_offline/metrics'];
const FARO = /^\/collect(\/[^/]+)?$/;

/** Whether a path is a door of tillwatch, or one of those that the operator names. */
export const isDoor = (pathname, held = []) => [...DOORS, ...held].some((door) => pathname.endsWith(door)) || FARO.test(pathname);
