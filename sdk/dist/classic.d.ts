/** Everything as one global, for a page without modules. */
export {};
