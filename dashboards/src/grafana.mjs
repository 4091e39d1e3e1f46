// Everything a board is made of.

export * from './dashboard.mjs';
export * from './panels.mjs';
