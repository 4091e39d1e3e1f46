// Holds the one stream of a browser for all pages that look. It runs in a shared worker, or in the page itself where there is none.
import { backOff, changed, events, Fleet, joined, minuteOf, whole, type Minute, type Part, type Rows, type Sparks, type Whole } from './live';
import type { Change, Detail, Fleet as Answer, Pipeline } from './types';

/** `idle`: nobody looks at anything that is pushed. `refused`: with this status. `polling`: the collector has no stream, or none left. */
export type Link = 'idle' | 'connecting' | 'live' | 'polling' | 'lost' | 'refused';
/** What a page looks at. `seq` is of the fleet that it has already; `isBack`: the collector answers again, as the page knows. */
export interface Want { topics: string[]; isVisible: boolean; seq: number; isBack?: boolean }
export type Said = Whole | Part | Minute
  | { kind: 'link'; link: Link; status: number } | { kind: 'heard' } | { kind: 'change'; change: Change }
  | { kind: 'store'; topic: string; store: Detail | null; t: number } | { kind: 'unpushed'; topic: string } | { kind: 'pipeline'; pipeline: Pipeline; isWhole: boolean };
export interface Page { want: (want: Want) => void; leave: () => void }

const HIDDEN_MS = 15_000;
const SILENT_MS = 20_000;
const POLL_MS = 2_000;
/** When a stream that was not to be had is asked for again. */
const AGAIN_MS = 60_000;
const REFUSED_MS = 10_000;
/** Pages say every 20 s that they are there; one that was closed in a way that nobody noticed does not. */
const GONE_MS = 90_000;

interface Held extends Want { post: (said: Said) => void; heardAt: number; askedAt: number }

/** What the collector takes for the name of a store; with any other it would refuse all topics. */
const STORE = /^store:[\w.:-]{1,64}$/;

export class Hub {
  #pages = new Set<Held>();
  #fleet = new Fleet();
  #isFed = false;
  #details = new Map<string, { store: Detail | null; t: number }>();
  #pipeline: Pipeline | null = null;
  #topics = '';
  #link: Link = 'idle';
  #status = 0;
  #stop: AbortController | null = null;
  #tries = 0;
  #heardAt = 0;
  #saidAt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #hidden: ReturnType<typeof setTimeout> | undefined;
  #watch: ReturnType<typeof setInterval> | undefined;

  join(post: (said: Said) => void): Page {
    const page: Held = { topics: [], isVisible: false, seq: 0, post, heardAt: Date.now(), askedAt: 0 };
    this.#pages.add(page);
    this.#watch ??= setInterval(() => this.#check(), 2_000);
    post({ kind: 'link', link: this.#link, status: this.#status });
    return {
      want: (want) => {
        const before = page.isVisible ? page.topics : [];
        if (!page.isVisible || page.topics.join() !== want.topics.join()) page.askedAt = Date.now();
        Object.assign(page, want, { heardAt: Date.now() });
        // A page that was hidden for long was taken for gone.
        if (!this.#pages.has(page)) { this.#pages.add(page); post({ kind: 'link', link: this.#link, status: this.#status }); }
        if (want.isVisible) {
          // What the stream has brought already is there at once for a page that comes later.
          if (want.topics.includes('fleet') && this.#isFed && want.seq !== this.#fleet.seq) post(this.#fleet.whole());
          for (const topic of want.topics.filter((one) => !before.includes(one))) {
            const known = this.#details.get(topic);
            if (known) post({ kind: 'store', topic, ...known });
            if (topic === 'pipeline' && this.#pipeline) post({ kind: 'pipeline', pipeline: this.#pipeline, isWhole: true });
          }
        }
        this.#turn();
        if (want.isBack && this.#timer && this.#topics) { this.#tries = 0; this.#close(); void this.#open(); }
      },
      leave: () => { this.#pages.delete(page); this.#turn(); },
    };
  }

  #visible(): Held[] { return [...this.#pages].filter((page) => page.isVisible); }
  #tell(said: Said, topic?: string): void { for (const page of this.#visible()) if (!topic || page.topics.includes(topic)) page.post(said); }

  #say(link: Link, status = 0): void {
    if (link === this.#link && status === this.#status) return;
    [this.#link, this.#status] = [link, status];
    for (const page of this.#pages) page.post({ kind: 'link', link, status });
  }

  #heard(): void {
    const t = this.#heardAt = Date.now();
    if (t - this.#saidAt >= 1000) { this.#saidAt = t; this.#tell({ kind: 'heard' }); }
  }

  /** Follows what the pages look at. */
  #turn(): void {
    const visible = this.#visible();
    if (!visible.length) {
      if (this.#stop || this.#timer) this.#hidden ??= setTimeout(() => { this.#hidden = undefined; this.#ask(''); }, HIDDEN_MS);
      return;
    }
    clearTimeout(this.#hidden);
    this.#hidden = undefined;
    const wanted = new Set(visible.flatMap(({ topics }) => topics).filter((topic) => !topic.startsWith('store:') || STORE.test(topic)));
    // The stream takes one store; the page that asked last has it, and any other asks for its own now and then.
    const stores = [...wanted].filter((topic) => topic.startsWith('store:'));
    const latest = visible.sort((one, other) => other.askedAt - one.askedAt).flatMap(({ topics }) => topics).find((topic) => STORE.test(topic));
    for (const topic of stores) if (topic !== latest) { wanted.delete(topic); this.#tell({ kind: 'unpushed', topic }, topic); }
    this.#ask([...wanted].sort().join(','));
  }

  #ask(topics: string): void {
    if (topics === this.#topics && (this.#stop || this.#timer || !topics)) return;
    this.#topics = topics;
    this.#tries = 0;
    // What nobody pushes any more is of another time when it is asked for again.
    for (const topic of this.#details.keys()) if (!topics.split(',').includes(topic)) this.#details.delete(topic);
    if (!topics.includes('pipeline')) this.#pipeline = null;
    this.#close();
    if (topics) void this.#open();
    else this.#say('idle');
  }

  #close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#stop?.abort();
    this.#stop = null;
  }

  #later(ms: number, what: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => { this.#timer = undefined; what(); }, ms);
  }
  #retry(): void { this.#later(backOff(this.#tries, Math.random()), () => void this.#open()); this.#tries += 1; }

  async #open(): Promise<void> {
    const stop = this.#stop = new AbortController();
    if (this.#link === 'idle') this.#say('connecting');
    const since = this.#isFed && this.#topics.includes('fleet') ? `&since=${this.#fleet.seq}` : '';
    this.#heardAt = Date.now();
    try {
      const response = await fetch(`api/v1/live?topics=${this.#topics}${since}`, { cache: 'no-store', signal: stop.signal, headers: { Accept: 'text/event-stream' } });
      const { status } = response;
      if (status === 502 || status === 504) throw new TypeError('The collector is away.');
      if (!response.ok || !response.body || !response.headers.get('Content-Type')?.startsWith('text/event-stream')) {
        void response.body?.cancel();
        this.#stop = null;
        if (status === 401 || status === 403) {
          this.#say('refused', status);
          this.#later(REFUSED_MS, () => void this.#open());
        } else {
          const after = Number(response.headers.get('Retry-After')) * 1000;
          this.#poll(Date.now() + (status === 503 && after > 0 ? after * (1 + Math.random()) : AGAIN_MS));
        }
        return;
      }
      this.#say('live');
      this.#heard();
      const take = events((event, data) => this.#take(event, JSON.parse(data)));
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        if (stop.signal.aborted) return;
        this.#tries = 0;
        this.#heard();
        take(value);
      }
      if (!stop.signal.aborted) this.#retry();
    } catch {
      if (this.#stop !== stop) return;
      // Whoever answers next may count anew.
      this.#isFed = false;
      this.#say('lost');
      this.#retry();
    }
  }

  #take(event: string, data: unknown): void {
    const fleet = this.#fleet;
    if (event === 'snapshot') {
      const { t, topic, fleet: answer, store, pipeline } = data as { t: number; topic: string; fleet?: Answer; store?: Detail | null; pipeline?: Pipeline };
      if (answer) this.#feed(whole({ ...answer, seq: (data as Answer).seq }));
      else if (pipeline) { this.#pipeline = pipeline; this.#tell({ kind: 'pipeline', pipeline, isWhole: true }, 'pipeline'); }
      else if (store !== undefined) this.#detail(topic, store, t);
    } else if (event === 'rows') {
      if (!this.#isFed) return;
      const said = changed(fleet, data as Rows);
      if (said.kind === 'fleet') this.#feed(said);
      else { fleet.apply(said); this.#tell(said, 'fleet'); }
    } else if (event === 'sparks') {
      const said = minuteOf(fleet, data as Sparks);
      const isMissed = fleet.minute > 0 && said.minute - fleet.minute > 60_000;
      fleet.pass(said);
      this.#tell(said, 'fleet');
      // Minutes of which nobody told are in the next snapshot.
      if (isMissed) { this.#isFed = false; this.#close(); void this.#open(); }
    } else if (event === 'change') this.#tell({ kind: 'change', change: data as Change }, 'fleet');
    else if (event === 'store') {
      const { t, store } = data as { t: number; store: Detail | null };
      const topic = this.#topics.split(',').find((one) => one.startsWith('store:'));
      if (topic) this.#detail(topic, store, t);
    } else if (event === 'pipeline') {
      const pipeline = data as Pipeline;
      this.#pipeline = joined(this.#pipeline, pipeline);
      this.#tell({ kind: 'pipeline', pipeline, isWhole: false }, 'pipeline');
    } else if (event === 'bye') {
      // Whoever comes after this one counts anew.
      this.#isFed = false;
    }
  }

  #feed(said: Whole): void {
    this.#fleet.load(said);
    this.#isFed = true;
    this.#tell(said, 'fleet');
  }

  #detail(topic: string, store: Detail | null, t: number): void {
    this.#details.set(topic, { store, t });
    this.#tell({ kind: 'store', topic, store, t }, topic);
  }

  /** Asks for the fleet every two seconds until a stream may be had again. */
  #poll(until: number): void {
    this.#isFed = false;
    const once = async (): Promise<void> => {
      const stop = this.#stop = new AbortController();
      try {
        if (this.#topics.includes('fleet')) {
          const response = await fetch('api/v1/fleet', { cache: 'no-store', signal: AbortSignal.any([stop.signal, AbortSignal.timeout(SILENT_MS)]) });
          const { status } = response;
          if (status === 502 || status === 504) throw new TypeError('The collector is away.');
          if (status === 200) {
            const said = whole(await response.json());
            if (stop.signal.aborted) return;
            this.#fleet.load(said);
            this.#tell(said, 'fleet');
          }
          if (status === 401 || status === 403) this.#say('refused', status);
          else { this.#heard(); this.#say('polling', status < 400 ? 0 : status); }
        } else this.#say('polling');
        if (this.#stop !== stop) return;
        this.#stop = null;
        this.#later(POLL_MS, () => (Date.now() < until ? void once() : void this.#open()));
      } catch {
        if (this.#stop !== stop) return;
        this.#say('lost');
        this.#retry();
      }
    };
    void once();
  }

  #check(): void {
    const time = Date.now();
    for (const page of this.#pages) if (time - page.heardAt > GONE_MS) { this.#pages.delete(page); this.#turn(); }
    if (this.#link !== 'live' || !this.#stop || time - this.#heardAt < SILENT_MS) return;
    this.#close();
    this.#say('lost');
    this.#retry();
  }
}
