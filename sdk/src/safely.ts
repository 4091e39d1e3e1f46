/** Whatever happens in here must not disturb the page. */
export const safely = <T>(work: () => T): T | undefined => {
  try {
    const result: any = work();
    return result?.catch ? result.catch(() => {}) : result;
  } catch {}
  return;
};

/** The same, as a function. */
export const guarded =
  <A extends unknown[], R>(work: (...given: A) => R) =>
  (...given: A): R =>
    safely(() => work(...given))!;
