// What terminals report of errors, by group: the same error whatever the release. Groups have texts and many values,
// so they are rows in ClickHouse and no series.

import * as g from './grafana.mjs';

/** Rows are of hours: the hour in which the range begins is part of it, or a short range would show nothing. */
const IN_RANGE = "hour_start >= toStartOfHour($__fromTime, 'UTC') AND hour_start <= $__toTime";
const whereOf = (where) => `kind = 'error' AND source = 'rum' AND ${where} AND ${IN_RANGE}`;
/** The group of all that had no place has neither type nor message. */
const NO_PLACE = "fingerprint = '0000000000000000', 'all that found no place of their own'";
const HOUR = "'%m-%d %H:%i'";

/** The most frequent groups of the range as a table. `ofOneStore` leaves the number of stores out. */
export const errorTable = ({ where = '1', ofOneStore = false, limit, ...rest }) =>
  g.table({
    targets: [
      g.sql(
        `
        SELECT fingerprint AS "Fingerprint", any(type) AS "Type", if(${NO_PLACE}, any(message)) AS "Message", sum(count) AS "Count", sum(fatal) AS "Fatal",
          ${ofOneStore ? '' : 'uniqExact(store_id) AS "Stores", '}uniqExactArray(terminals) AS "Terminals",
          formatDateTime(min(hour_start), ${HOUR}) AS "First hour", formatDateTime(max(hour_start), ${HOUR}) AS "Last hour",
          arrayStringConcat(arraySort(groupUniqArray(release)), ', ') AS "Releases"
        FROM v_error_group_1h
        WHERE ${whereOf(where)}
        GROUP BY fingerprint ORDER BY "Count" DESC, fingerprint LIMIT ${limit}`,
        'table',
      ),
    ],
    columns: [
      g.override('Fingerprint', { 'custom.width': 150 }),
      ...['Count', 'Fatal', ...(ofOneStore ? [] : ['Stores']), 'Terminals'].map((name) => g.plainColumn(name, 'short', { decimals: 0, 'custom.width': 90 })),
      ...['First hour', 'Last hour'].map((name) => g.override(name, { 'custom.align': 'right', 'custom.width': 110 })),
    ],
    ...rest,
  });

/** The most frequent groups of the range by hour, each under one name: the messages of a group may differ. */
export const errorTrend = ({ groups, ...rest }) =>
  g.timeseries({
    targets: [
      g.sql(`
        SELECT point.1 AS time, name, point.2 AS errors
        FROM (
          SELECT name, arrayJoin(arrayZip(hours.1, hours.2)) AS point
          FROM (
            SELECT concat(substring(fingerprint, 1, 6), ' ', if(${NO_PLACE}, concat(any(type), ': ', substringUTF8(any(message), 1, 60)))) AS name,
              sumMap([hour_start], [count]) AS hours
            FROM v_error_group_1h
            WHERE ${whereOf('1')}
            GROUP BY fingerprint ORDER BY sum(count) DESC, fingerprint LIMIT ${groups}
          )
        )
        ORDER BY time`),
    ],
    displayName: '${__field.labels.name}',
    decimals: 0,
    stack: 'normal',
    draw: 'bars',
    ...rest,
  });
