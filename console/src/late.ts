// What came late into a chart while somebody looks at it. Nothing here touches the page.

/** What is younger when it comes is on time. */
const LIVE_MS = 600_000;

export class Watched {
  #counts = new Map<number, number>();
  #from = Infinity;
  #to = 0;

  /** Takes the counts of an answer about what began at `from`, as they are at `to`; gives by how many each has grown after its time. */
  take(counts: [number, number][], from: number, step: number, to: number): Map<number, number> {
    const isOver = (t: number, time: number): boolean => t + step + LIVE_MS <= time;
    const late = new Map<number, number>();
    for (const [t, n] of counts) {
      // Where nothing was before, all came late.
      const before = this.#counts.get(t) ?? (t >= this.#from && isOver(t, this.#to) ? 0 : undefined);
      if (before === undefined || !isOver(t, to)) this.#counts.set(t, n);
      else if (n > before) { this.#counts.set(t, before); late.set(t, n - before); }
    }
    this.#from = Math.min(this.#from, from);
    this.#to = to;
    return late;
  }
}
