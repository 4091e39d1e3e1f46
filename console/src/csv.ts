/** Rows as CSV (RFC 4180). What a spreadsheet would take for a formula is made text: names come from terminals. */
export function csv(rows: (string | number | null | undefined)[][]): string {
  return rows.map((row) => row.map(field).join(',') + '\r\n').join('');
}

function field(value: string | number | null | undefined): string {
  if (value == null) return '';
  if (typeof value === 'number') return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? "'" + value : value;
  return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
}
