// What JSX is compiled to: calls, which pack better than objects do.
export { h, Fragment } from 'preact';
