// One line for whatever happens: time, level, and words with their values.

const word = (value) => (/^[\w.:/-]+$/.test(value) ? value : JSON.stringify(value));

export const line = (level, fields, at = new Date()) =>
  [`time=${at.toISOString()}`, `level=${level}`, ...Object.entries(fields).filter(([, value]) => value !== undefined).map(([key, value]) => `${key}=${word(String(value))}`)].join(' ');

export const log = (level, fields) => void process.stderr.write(line(level, fields) + '\n');
