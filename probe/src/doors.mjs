// What a page posts for itself, by where it posts it.

/** The doors of tillwatch: where pages post what they measured. A proxy may put a folder before the first three. */
const DOORS = ['/v1/batches', '/v1/metrics', '/pdc_pos_offline/metrics'];
const FARO = '^/collect(/[^/]+)?$';

/** A pattern of the paths of doors, and of those that the operator names beside them. */
export const doors = (held = []) => new RegExp([...[...DOORS, ...held].map((door) => door.replace(/[.*+?^${}()|[\]\\]/g, '\\$&') + '$'), FARO].join('|'));
