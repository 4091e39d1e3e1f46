import test from 'node:test';
import assert from 'node:assert/strict';
import { pure } from './pure.mjs';

const { csv } = await pure('csv');

test('fields are quoted only where they must be', () => {
  assert.equal(csv([['a', 1.5, null], ['x,y', 'say "no"', 'two\nlines']]), 'a,1.5,\r\n"x,y","say ""no""","two\nlines"\r\n');
});

test('the name of a store is never a formula', () => {
  assert.equal(csv([['=1+1', '@x', '+1', '-1', -1]]), "'=1+1,'@x,'+1,'-1,-1\r\n");
  assert.equal(csv([['=HYPERLINK("http://a","b")']]), '"\'=HYPERLINK(""http://a"",""b"")"\r\n');
});
