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
      // What was not over when it was looked at last may have grown on time; where nothing was before, all came late.
      const before = isOver(t, this.#to) ? this.#counts.get(t) ?? (t >= this.#from ? 0 : undefined) : undefined;
      this.#counts.set(t, before ?? n);
      if (before !== undefined && n > before) late.set(t, n - before);
    }
    this.#from = Math.min(this.#from, from);
    this.#to = to;
    return late;
  }
}
