// Draws one dashboard from its JSON and the frames in `window.PICTURE`, on Grafana's grid, and says when it is done.

import { createTheme, dateTime, ThemeContext } from '@grafana/data';
import { ErrorBoundary, GlobalStyles, PanelChrome } from '@grafana/ui';
import 'uplot/dist/uPlot.min.css';
import React from 'react';
import { createRoot } from 'react-dom/client';

import { PANELS } from './panels.jsx';
import { prepare } from './prepare.js';

// Grafana's grid: 24 columns, cells of 30 pixels, gaps of 8.
const CELL = 30;
const GAP = 8;
const MARGIN = 16;
const HEAD = 92;

const { dashboard, frames, ranges, variables, alerts, marks, width } = window.PICTURE;
const theme = createTheme({ colors: { mode: 'dark' } });
const column = (width - 2 * MARGIN + GAP) / 24;
const box = ({ x, y, w, h }) => ({ left: MARGIN + x * column, top: HEAD + y * (CELL + GAP), width: w * column - GAP, height: h * (CELL + GAP) - GAP });
const rangeOf = ({ fromMs, toMs }) => {
  const [from, to] = [dateTime(fromMs), dateTime(toMs)];
  return { from, to, raw: { from, to } };
};

function Panel({ panel, data }) {
  const { left, top, width: w, height: h } = box(panel.gridPos);
  const place = { position: 'absolute', left, top, width: w, height: h };
  if (panel.type === 'row') {
    return (
      <div style={{ ...place, display: 'flex', alignItems: 'center', fontSize: 16, fontWeight: 500, color: theme.colors.text.primary }}>
        <span style={{ marginRight: 8, fontSize: 11 }}>▼</span>
        {panel.title}
      </div>
    );
  }
  const Body = PANELS[panel.type];
  const timeInfo = panel.timeFrom ? <span style={{ color: theme.colors.text.secondary, fontSize: 12 }}>Last {panel.timeFrom.replace('d', ' days').replace('24h', '24 hours')}</span> : undefined;
  return (
    <div style={place} data-panel={panel.title} data-kind={panel.type}>
      <PanelChrome title={panel.title} description={panel.description} width={w} height={h} titleItems={timeInfo} padding={panel.type === 'table' ? 'none' : 'md'}>
        {(innerWidth, innerHeight) => (
          <ErrorBoundary>
            {({ error }) =>
              error ? (
                <div data-error={String(error)}>{String(error)}</div>
              ) : (
                <Body panel={panel} frames={data} width={innerWidth} height={innerHeight} range={rangeOf(ranges[panel.id])} theme={theme} alerts={alerts} marks={marks} />
              )
            }
          </ErrorBoundary>
        )}
      </PanelChrome>
    </div>
  );
}

const chip = { border: `1px solid ${theme.colors.border.weak}`, borderRadius: 4, display: 'inline-flex', height: 28, overflow: 'hidden', fontSize: 12, marginRight: 8 };
function Head() {
  const { fromMs, toMs } = ranges.dashboard;
  const text = (ms) => new Date(ms).toISOString().slice(0, 16).replace('T', ' ');
  return (
    <div style={{ position: 'absolute', left: MARGIN, right: MARGIN, top: 12 }}>
      <div style={{ display: 'flex', alignItems: 'baseline', gap: 16 }}>
        <span style={{ color: theme.colors.text.secondary }}>tillwatch ›</span>
        <span style={{ fontSize: 18, fontWeight: 500, marginLeft: -8 }}>{dashboard.title}</span>
        <span style={{ marginLeft: 'auto', color: theme.colors.text.secondary, fontSize: 12 }}>
          {text(fromMs)} to {text(toMs)} UTC
        </span>
      </div>
      <div style={{ display: 'flex', alignItems: 'center', marginTop: 12 }}>
        {variables.map(({ label, value }) => (
          <span key={label} style={chip}>
            <span style={{ background: theme.colors.background.secondary, padding: '5px 8px', color: theme.colors.text.primary }}>{label}</span>
            <span style={{ padding: '5px 10px', color: theme.colors.text.secondary }}>{value}</span>
          </span>
        ))}
      </div>
    </div>
  );
}

async function main() {
  const prepared = new Map();
  for (const panel of dashboard.panels) {
    if (frames[panel.id]) prepared.set(panel.id, await prepare(panel, frames[panel.id], theme));
  }
  const bottom = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  const height = HEAD + bottom * (CELL + GAP) + MARGIN - GAP;
  createRoot(document.getElementById('root')).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <div style={{ position: 'relative', width, height, background: theme.colors.background.canvas, color: theme.colors.text.primary, fontFamily: theme.typography.fontFamily }}>
        <Head />
        {dashboard.panels.map((panel) => (
          <Panel key={panel.id} panel={panel} data={prepared.get(panel.id)} />
        ))}
      </div>
    </ThemeContext.Provider>,
  );
  window.PICTURE_HEIGHT = height;
}

main().catch((error) => {
  window.PICTURE_FAILED = String(error?.stack ?? error);
});
