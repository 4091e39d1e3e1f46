// Lines over time, drawn as SVG.
import { useId, useMemo, useRef } from 'preact/hooks';
import { isLost, now, reading, zone } from './state';
import { exact, figure, grouped, plain, plural, clock, when, count } from './format';
import { apart, linear, logarithmic, nearLimits, pieces, timeTicks } from './scale';
import { useWidth } from './ui';

export interface Line {
  key: string; label: string; points: [number, number][];
  /** `ink` passes through the colours of the limits, `thin` is a second line, a number is a colour of a series, `faint` is one of many. */
  look: 'ink' | 'thin' | 'faint' | number;
}
export interface ChartProps {
  name: string; lines: Line[]; from: number; to: number; step: number; unit: string; limits?: number[];
  /** How many samples each point rests on. */
  counts?: [number, number][];
  /** How many of these came late while somebody looked. */
  late?: Map<number, number>; isAsking?: boolean; height?: number; isLog?: boolean; lifted?: string | null; hasArea?: boolean;
  onZoom?: (from: number, to: number) => void; onLift?: (key: string | null) => void;
}

const LEFT = 50;
const STRIP = 18;
const BELOW = 20;

const path = (points: [number, number][], x: (t: number) => number, y: (value: number) => number): string =>
  points.map(([t, value], i) => `${i ? 'L' : 'M'}${x(t).toFixed(1)} ${y(value).toFixed(1)}`).join('');

/** One element for all pieces of a line, and one for what was measured alone: there may be 200 lines. */
function Stroke({ points, step, x, y, ink }: { points: [number, number][]; step: number; x: (t: number) => number; y: (value: number) => number; ink?: string }) {
  const all = pieces(points, step);
  const lines = all.filter((piece) => piece.length > 1).map((piece) => path(piece, x, y)).join('');
  const dots = all.filter((piece) => piece.length === 1).map(([[t, value]]) => `M${x(t).toFixed(1)} ${y(value).toFixed(1)}h0`).join('');
  return <>{lines && <path d={lines} stroke={ink} />}{dots && <path class="dots" d={dots} />}</>;
}

export function Chart({ name, lines, from, to, step, unit, limits = [], counts = [], late, isAsking, height = 130, isLog, lifted, hasArea, onZoom, onLift }: ChartProps) {
  const [box, full] = useWidth<HTMLDivElement>(340);
  const id = useId().replace(/\W/g, '');
  const drag = useRef<number | null>(null);
  const band = useRef<SVGRectElement>(null);

  const named = lines.filter(({ look }) => look !== 'faint');
  const right = Math.min(110, full / 4, Math.max(...named.map(({ label }) => label.length), 3) * 6.6 + 12);
  const width = Math.max(60, full - LEFT - right);
  const all = lines.flatMap(({ points }) => points.map(([, value]) => value));
  const greatest = Math.max(0, ...all);
  const isEmpty = !all.length;
  const shown = isEmpty ? limits.slice(0, 1) : nearLimits(limits, greatest);
  const positive = [...all.filter((value) => value > 0), ...shown];
  const scale = isLog && positive.length ? logarithmic(Math.min(...positive), Math.max(...positive), height) : linear(Math.max(greatest, ...shown), height, height > 200 ? 6 : 3);
  const x = (t: number): number => ((t - from) / (to - from)) * width;
  const y = scale.at;
  const ticks = scale.ticks.filter((tick) => (!isEmpty || tick === 0) && !shown.some((limit) => Math.abs(y(limit) - y(tick)) < 13));
  const times = timeTicks(from, to, Math.max(2, width / 85), zone.value);
  const busiest = Math.max(1, ...counts.map(([, n]) => n));

  /** From the bottom, or what came late from the top of it. */
  const bar = (t: number, n: number, of = n): string => {
    const tall = (n: number): number => Math.max(1, (n / busiest) * (STRIP - 4));
    const top = height + STRIP + 2 - tall(n);
    return of ? `M${x(t).toFixed(1)} ${top.toFixed(1)}h${Math.max(0.5, Math.min(x(t + step), width) - x(t) - 1).toFixed(1)}v${tall(of).toFixed(1)}H${x(t).toFixed(1)}z` : '';
  };

  const spots = [...new Set(lines.flatMap(({ points }) => points.map(([t]) => t)))].sort((one, other) => one - other);
  const nearest = (t: number): number | null => spots.reduce<number | null>((best, one) => (best === null || Math.abs(one - t) < Math.abs(best - t) ? one : best), null);
  const at = reading.value === null ? null : nearest(reading.value);
  const isRead = at !== null && reading.value !== null && Math.abs(at - reading.value) <= step;
  const valueAt = (line: Line, t: number): number | undefined => line.points.find(([one]) => one === t)?.[1];

  // The reading line moves with the pointer, and what stands still is not made anew for it.
  const drawn = useMemo(() => [...lines].reverse().map((line) => (
    <g key={line.key} class={`line ${typeof line.look === 'number' ? 'series-' + line.look : 'look-' + line.look}${lifted === line.key ? ' is-lifted' : ''}${lifted && lifted !== line.key ? ' is-behind' : ''}`}>
      <Stroke points={line.points} step={step} x={x} y={y} ink={line.look === 'ink' ? `url(#ink${id})` : undefined} />
    </g>
  )), [lines, lifted, width, height, from, to, step, isLog, greatest]);

  const ends = named.map(({ points }) => (points.length ? y(points[points.length - 1][1]) : height));
  const labels = apart(ends, 13, height);

  const timeAt = (event: PointerEvent): number => {
    const { left } = (event.currentTarget as Element).getBoundingClientRect();
    return from + Math.min(1, Math.max(0, (event.clientX - left) / width)) * (to - from);
  };
  const move = (event: PointerEvent): void => {
    const t = timeAt(event);
    reading.value = t;
    if (drag.current !== null && band.current) {
      band.current.setAttribute('x', String(Math.min(x(drag.current), x(t))));
      band.current.setAttribute('width', String(Math.abs(x(t) - x(drag.current))));
    }
    if (onLift && drag.current === null) {
      const { top } = (event.currentTarget as Element).getBoundingClientRect();
      const t2 = nearest(t);
      let best: [number, string | null] = [14, null];
      for (const line of lines) {
        const value = t2 === null ? undefined : valueAt(line, t2);
        const far = value === undefined ? Infinity : Math.abs(y(value) - (event.clientY - top));
        if (far < best[0]) best = [far, line.key];
      }
      onLift(best[1]);
    }
  };
  const down = (event: PointerEvent): void => {
    if (!onZoom || event.button || event.pointerType === 'touch') return;
    (event.currentTarget as Element).setPointerCapture(event.pointerId);
    drag.current = timeAt(event);
  };
  const up = (event: PointerEvent): void => {
    const begin = drag.current;
    drag.current = null;
    band.current?.setAttribute('width', '0');
    if (begin === null || !onZoom) return;
    const [one, other] = [begin, timeAt(event)].sort((a, b) => a - b);
    if (x(other) - x(one) > 6) onZoom(Math.floor(one / 60_000) * 60_000, Math.max(Math.ceil(other / 60_000), Math.floor(one / 60_000) + 2) * 60_000);
  };
  const leave = (): void => { if (drag.current === null) { reading.value = null; onLift?.(null); } };
  const key = (event: KeyboardEvent): void => {
    const way = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
    if (!way || !spots.length) return;
    event.preventDefault();
    const i = at === null ? -1 : spots.indexOf(at);
    reading.value = spots[i < 0 ? spots.length - 1 : Math.min(spots.length - 1, Math.max(0, i + way))];
  };

  const first = named[0] ?? lines[0];
  const spoken = isRead && first ? valueAt(first, at) : first?.points[first.points.length - 1]?.[1];
  const limitText = limits.length ? `, limit ${exact(limits[limits.length - 1], unit)}` : '';
  const rests = counts.find(([t]) => t === at) ?? counts[counts.length - 1];
  const aria = spoken === undefined ? `${name}: nothing was measured` : `${name}, ${first.label}${isRead ? ' at ' + clock(at, zone.value) : ''}: ${plain(figure(spoken, unit))}${limitText}${rests ? `, of ${plural(rests[1], 'sample')}` : ''}${rests && late?.get(rests[0]) ? `, ${grouped(late.get(rests[0])!)} of them late` : ''}`;
  // A line keeps its ink until it passes a limit: the stroke is a gradient with hard edges at the limits.
  const edge = (limit: number): number => Math.min(1, Math.max(0, 1 - y(limit) / height));
  const tops = limits.length ? [edge(limits[0]), edge(limits[1] ?? Infinity)] : [1, 1];

  return (
    <div ref={box} class="chart">
      <svg width={full} height={height + STRIP + BELOW + 8} role="img" aria-label={aria} tabIndex={isEmpty ? undefined : 0} onKeyDown={key} onBlur={leave}>
        <defs>
          <linearGradient id={'ink' + id} gradientUnits="userSpaceOnUse" x1="0" y1={height} x2="0" y2="0">
            <stop offset="0" class="stop-ink" /><stop offset={tops[0]} class="stop-ink" />
            <stop offset={tops[0]} class={limits.length ? 'stop-warn' : 'stop-ink'} /><stop offset={tops[1]} class={limits.length ? 'stop-warn' : 'stop-ink'} />
            <stop offset={tops[1]} class={limits.length > 1 ? 'stop-critical' : 'stop-warn'} /><stop offset="1" class={limits.length > 1 ? 'stop-critical' : 'stop-warn'} />
          </linearGradient>
        </defs>
        <g transform={`translate(${LEFT} 6)`}>
          {ticks.map((tick) => (
            <g key={tick}><path class={tick === scale.low ? 'axis' : 'grid'} d={`M0 ${y(tick)}H${width}`} /><text class="tick" x={-8} y={y(tick) + 4} text-anchor="end">{exact(tick, unit)}</text></g>
          ))}
          {shown.map((limit) => (
            <g key={'l' + limit}><path class="limit" d={`M0 ${y(limit)}H${width}`} /><text class="tick is-limit" x={-8} y={y(limit) + 4} text-anchor="end">{exact(limit, unit)}</text></g>
          ))}
          {counts.length > 0 && <path class="samples" d={counts.map(([t, n]) => bar(t, n)).join('')} />}
          {late && late.size > 0 && <path class="samples is-late" d={counts.map(([t, n]) => bar(t, n, late.get(t) ?? 0)).join('')} />}
          {times.map(({ t, isDay }) => {
            const text = isDay || to - from > 3 * 86_400_000 ? when(t, 0, zone.value).replace(' 00:00', '') : clock(t, zone.value);
            return <text key={t} class="tick" x={x(t)} y={height + STRIP + BELOW} text-anchor="middle">{text}</text>;
          })}
          {hasArea && lines.length > 1 && pieces(lines[0].points, step).map((piece) => {
            const under = piece.map(([t]) => [t, valueAt(lines[1], t) ?? 0] as [number, number]).reverse();
            return piece.length > 1 && <path key={piece[0][0]} class="area" d={path(piece, x, y) + path(under, x, y).replace('M', 'L') + 'Z'} />;
          })}
          {drawn}
          {named.map((line, i) => line.points.length > 0 && (
            <text key={line.key} class={'end ' + (typeof line.look === 'number' ? 'series-' + line.look : '')} x={width + 8} y={labels[i] + 4}>{line.label.length > 15 ? line.label.slice(0, 14) + '…' : line.label}</text>
          ))}
          {isEmpty && <text class="nothing" x={width / 2} y={height / 2} text-anchor="middle">{isLost.value || isAsking ? '' : 'Nothing was measured.'}</text>}
          {isRead && (
            <g class="reading"><path d={`M${x(at)} 0V${height + STRIP}`} />
              {lines.filter((line) => line.look !== 'faint' || line.key === lifted).map((line) => { const value = valueAt(line, at); return value !== undefined && <circle key={line.key} cx={x(at)} cy={y(value)} r="2.6" class={typeof line.look === 'number' ? 'series-' + line.look : ''} />; })}
            </g>
          )}
          <rect ref={band} class="band" x="0" y="0" width="0" height={height} />
          <rect class={'catch' + (onZoom ? ' is-zoom' : '')} x="0" y="0" width={width} height={height + STRIP} onPointerMove={move} onPointerDown={down} onPointerUp={up} onPointerLeave={leave} />
        </g>
      </svg>
      {isRead && height > 200 && (
        <div class={'tip' + (x(at) > width / 2 ? ' is-left' : '')} style={{ left: LEFT + x(at) + 'px' }} aria-hidden="true">
          <b>{when(at, now.value, zone.value)}</b>
          {lines.filter((line) => line.look !== 'faint' || line.key === lifted).slice(0, 8).map((line) => { const value = valueAt(line, at); return value !== undefined && (
            <div key={line.key} class={lifted === line.key ? 'is-lifted' : ''}><i class={typeof line.look === 'number' ? 'series-' + line.look : ''} /><span>{line.label}</span><span class="num">{plain(figure(value, unit))}</span></div>
          ); })}
          {counts.length > 0 && <div class="sub"><i /><span>samples</span><span class="num">{plain(count(counts.find(([t]) => t === at)?.[1]))}</span></div>}
        </div>
      )}
    </div>
  );
}
