// One component for each type of panel: Grafana's where its library has it, a plain drawing where the panel's code is
// part of the server (state timeline, heatmap, alert list).

import { VizOrientation, getDisplayProcessor, getFieldDisplayName, getFieldDisplayValues, getDisplayValueAlignmentFactors, getValueFormat, formattedValueToString } from '@grafana/data';
import { BarGauge, BigValue, BigValueGraphMode, BigValueColorMode, BigValueJustifyMode, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '../node_modules/@grafana/ui/dist/esm/components/Table/TableNG/TableNG.mjs';
import React, { useLayoutEffect } from 'react';

const plain = (text) => text;

function displayValues({ panel, frames, theme }, sparkline) {
  return getFieldDisplayValues({
    fieldConfig: panel.fieldConfig,
    reduceOptions: panel.options.reduceOptions,
    replaceVariables: plain,
    theme,
    data: frames,
    sparkline,
    timeZone: 'utc',
  });
}

function Stat({ width, height, ...rest }) {
  const { panel, theme } = rest;
  const spark = panel.options.graphMode === 'area';
  const [value] = displayValues(rest, spark);
  return (
    <BigValue
      value={value.display}
      sparkline={value.sparkline}
      width={width}
      height={height}
      theme={theme}
      graphMode={spark ? BigValueGraphMode.Area : BigValueGraphMode.None}
      colorMode={BigValueColorMode.Value}
      justifyMode={BigValueJustifyMode.Auto}
      textMode={panel.options.textMode}
      wideLayout
    />
  );
}

function Bars({ width, height, ...rest }) {
  const { panel, theme } = rest;
  const values = displayValues(rest, false);
  return (
    <VizRepeater
      source={values}
      getValues={() => values}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      orientation={VizOrientation.Horizontal}
      width={width}
      height={height}
      itemSpacing={8}
      minVizHeight={16}
      maxVizHeight={40}
      autoGrid={false}
      renderCounter={0}
      renderValue={({ value, alignmentFactors, width: w, height: h, orientation }) => (
        <BarGauge
          value={value.display}
          field={value.field}
          display={getDisplayProcessor({ field: { config: value.field }, theme })}
          width={w}
          height={h}
          orientation={orientation}
          theme={theme}
          itemSpacing={8}
          displayMode={panel.options.displayMode}
          alignmentFactors={alignmentFactors}
          showUnfilled
          isOverflow={false}
          valueDisplayMode={panel.options.valueMode}
          namePlacement="left"
        />
      )}
    />
  );
}

/** Vertical dashed lines where something happened. */
function Marks({ builder, marks }) {
  useLayoutEffect(() => {
    builder.addHook('draw', (plot) => {
      const { ctx, bbox } = plot;
      ctx.save();
      ctx.setLineDash([4, 3]);
      ctx.lineWidth = 1;
      for (const { time, color } of marks) {
        const x = Math.round(plot.valToPos(time, 'x', true)) + 0.5;
        if (x < bbox.left || x > bbox.left + bbox.width) continue;
        ctx.strokeStyle = color;
        ctx.fillStyle = color;
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
        ctx.beginPath();
        ctx.moveTo(x - 4, bbox.top + bbox.height + 6);
        ctx.lineTo(x + 4, bbox.top + bbox.height + 6);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.fill();
      }
      ctx.restore();
    });
  }, [builder, marks]);
  return null;
}

function Lines({ panel, frames, width, height, range, marks }) {
  if (frames.length === 0) return <div style={{ height, display: 'grid', placeItems: 'center' }}>No data</div>;
  return (
    <TimeSeries frames={frames} width={width} height={height} timeRange={range} timeZone="utc" legend={panel.options.legend} options={panel.options}>
      {(builder) => <Marks builder={builder} marks={panel.timeFrom ? [] : marks} />}
    </TimeSeries>
  );
}

/** A row of a table, and the row of its names. */
const ROW = 36;
const NAMES = 33;

function Table({ panel, frames, width, height: room, range }) {
  // A picture cannot be scrolled: it shows whole rows.
  const height = NAMES + Math.floor((room - NAMES) / ROW) * ROW;
  return (
    <div style={{ height, overflow: 'hidden' }}>
      <TableNG
        data={frames[0]}
        width={width}
        height={height}
        timeRange={range}
        initialSortBy={panel.options.sortBy}
        cellHeight={panel.options.cellHeight}
        showTypeIcons={false}
        enableVirtualization
        getActions={() => []}
        structureRev={1}
      />
    </div>
  );
}

const clock = (ms, long) => new Date(ms).toISOString().slice(long ? 5 : 11, long ? 10 : 16).replace('-', '/');

/** Where times stand under a drawing of its own. */
function TimeAxis({ from, to, left, width, top, theme }) {
  const long = to - from > 36 * 3600e3;
  const steps = [60e3, 120e3, 300e3, 600e3, 1800e3, 3600e3, 3 * 3600e3, 12 * 3600e3, 86400e3];
  const step = steps.find((one) => (width * one) / (to - from) >= 62) ?? steps.at(-1);
  const ticks = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) ticks.push(at);
  return ticks.map((at) => {
    const x = left + ((at - from) / (to - from)) * width;
    return x > left + width - 14 ? null : (
      <text key={at} x={x} y={top + 14} fill={theme.colors.text.secondary} fontSize={12} textAnchor="middle">
        {clock(at, long)}
      </text>
    );
  });
}

function StateTimeline({ panel, frames, width, height, range, theme }) {
  const left = 124;
  const [from, to] = [range.from.valueOf(), range.to.valueOf()];
  const plot = { width: width - left - 8, height: height - 24 };
  const rowHeight = plot.height / frames.length;
  const band = rowHeight * panel.options.rowHeight;
  return (
    <svg width={width} height={height} style={{ display: 'block' }}>
      {frames.map((frame, at) => {
        const [time, value] = frame.fields;
        const top = at * rowHeight + (rowHeight - band) / 2;
        const runs = [];
        time.values.forEach((start, index) => {
          if (value.values[index] === null) return;
          const color = value.display(value.values[index]).color;
          const step = index > 0 ? start - time.values[index - 1] : 60e3;
          const end = Math.min(to, start + 60e3 * Math.max(1, step / 60e3));
          const last = runs.at(-1);
          if (last && last.color === color && start - last.end < 1000) last.end = end;
          else runs.push({ start, end, color });
        });
        return (
          <g key={at}>
            <text x={left - 10} y={top + band / 2 + 4} fill={theme.colors.text.primary} fontSize={12} textAnchor="end">
              {getFieldDisplayName(value, frame, frames)}
            </text>
            {runs.map(({ start, end, color }, run) => (
              <rect
                key={run}
                x={left + ((Math.max(start, from) - from) / (to - from)) * plot.width}
                width={Math.max(1, ((end - Math.max(start, from)) / (to - from)) * plot.width - 1)}
                y={top}
                height={band}
                fill={color}
                fillOpacity={panel.fieldConfig.defaults.custom.fillOpacity / 100}
              />
            ))}
          </g>
        );
      })}
      <TimeAxis from={from} to={to} left={left} width={plot.width} top={plot.height + 4} theme={theme} />
    </svg>
  );
}

const PURPLES = [[35, 28, 52], [62, 44, 98], [98, 66, 150], [146, 104, 204], [190, 156, 236], [236, 222, 255]];
function shade(part) {
  const place = Math.min(PURPLES.length - 1.001, part * (PURPLES.length - 1));
  const low = PURPLES[Math.floor(place)];
  const high = PURPLES[Math.floor(place) + 1];
  return `rgb(${low.map((value, at) => Math.round(value + (high[at] - value) * (place % 1))).join(',')})`;
}

function Heatmap({ panel, frames, width, height, range, theme }) {
  const [time, ...buckets] = frames[0].fields;
  const { unit } = panel.options.yAxis;
  const format = getValueFormat(unit);
  const name = ({ name }) => (name === 'Infinity' ? '+Inf' : Number.isNaN(Number(name)) ? name : formattedValueToString(format(Number(name))));
  const left = 66;
  const [from, to] = [range.from.valueOf(), range.to.valueOf()];
  const plot = { width: width - left - 8, height: height - 46 };
  const most = Math.max(1, ...buckets.flatMap(({ values }) => values));
  const rowHeight = plot.height / buckets.length;
  const step = time.values.length > 1 ? time.values[1] - time.values[0] : 60e3;
  const x = (at) => left + ((Math.min(Math.max(at, from), to) - from) / (to - from)) * plot.width;
  return (
    <svg width={width} height={height} style={{ display: 'block' }}>
      {buckets.map((bucket, at) => {
        const top = plot.height - (at + 1) * rowHeight;
        return (
          <g key={bucket.name}>
            <text x={left - 8} y={top + rowHeight / 2 + 4} fill={theme.colors.text.secondary} fontSize={12} textAnchor="end">
              {name(bucket)}
            </text>
            {bucket.values.map((value, index) =>
              value > 0 ? (
                <rect
                  key={index}
                  x={x(time.values[index])}
                  width={Math.max(1, x(time.values[index] + step) - x(time.values[index]) - 1)}
                  y={top}
                  height={rowHeight - 1}
                  fill={shade((value / most) ** panel.options.color.exponent)}
                />
              ) : null,
            )}
          </g>
        );
      })}
      <TimeAxis from={from} to={to} left={left} width={plot.width} top={plot.height + 2} theme={theme} />
      <defs>
        <linearGradient id={`scale-${panel.id}`}>
          {[0, 0.2, 0.4, 0.6, 0.8, 1].map((part) => (
            <stop key={part} offset={part} stopColor={shade(part)} />
          ))}
        </linearGradient>
      </defs>
      <text x={left - 8} y={height - 3} fill={theme.colors.text.secondary} fontSize={12} textAnchor="end">0</text>
      <rect x={left} y={height - 12} width={140} height={8} rx={2} fill={`url(#scale-${panel.id})`} />
      <text x={left + 148} y={height - 3} fill={theme.colors.text.secondary} fontSize={12}>
        {formattedValueToString(getValueFormat('short')(most))} samples
      </text>
    </svg>
  );
}

const WEIGHT = { critical: 0, page: 0, warning: 1, info: 2 };
function Alerts({ alerts, height, theme }) {
  const color = (severity) => [theme.visualization.getColorByName('red'), '#E5AC0E', '#8AB8FF'][WEIGHT[severity] ?? 2];
  // One row for each rule, as Grafana lists them.
  const rules = new Map();
  for (const alert of alerts) {
    const rule = rules.get(`${alert.name} ${alert.state}`) ?? { ...alert, instances: [] };
    rule.instances.push(alert.about);
    rule.about = rule.instances.length > 1 ? `${rule.instances.length} instances` : alert.about;
    rules.set(`${alert.name} ${alert.state}`, rule);
  }
  const order = ({ severity, state }) => (state === 'firing' ? 0 : 10) + (WEIGHT[severity] ?? 2);
  const rows = [...rules.values()].sort((one, other) => order(one) - order(other));
  // A row takes 40, the line that says how many more there are 24.
  const fit = (room) => Math.max(1, Math.floor((room + 4) / 40));
  const shown = rows.slice(0, rows.length > fit(height) ? fit(height - 24) : fit(height));
  if (rows.length === 0) {
    return <div style={{ height, display: 'grid', placeItems: 'center', color: theme.colors.text.secondary }}>No alerts matching filters</div>;
  }
  return (
    <div style={{ height, overflow: 'hidden', fontSize: 13 }}>
      {shown.map((alert, at) => (
        <div key={at} style={{ display: 'flex', gap: 10, alignItems: 'center', height: 36, marginBottom: 4, lineHeight: 1.25, padding: '0 10px', background: theme.colors.background.secondary, borderLeft: `3px solid ${color(alert.severity)}`, borderRadius: 2 }}>
          <div style={{ flex: 1, minWidth: 0 }}>
            <div style={{ whiteSpace: 'nowrap', overflow: 'hidden', textOverflow: 'ellipsis' }}>{alert.name}</div>
            <div style={{ color: theme.colors.text.secondary, fontSize: 12, whiteSpace: 'nowrap', overflow: 'hidden', textOverflow: 'ellipsis' }}>
              {[alert.severity, alert.about].filter(Boolean).join(' · ')}
            </div>
          </div>
          <div style={{ color: alert.state === 'firing' ? color('critical') : '#E5AC0E', whiteSpace: 'nowrap', fontSize: 12 }}>
            {alert.state} for {alert.since}
          </div>
        </div>
      ))}
      {rows.length > shown.length && <div style={{ color: theme.colors.text.secondary, padding: '4px 10px' }}>and {rows.length - shown.length} more</div>}
    </div>
  );
}

export const PANELS = { stat: Stat, bargauge: Bars, timeseries: Lines, table: Table, 'state-timeline': StateTimeline, heatmap: Heatmap, alertlist: Alerts };
