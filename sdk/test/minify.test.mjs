// Whatever is chosen of names and orders, the program does the same.
import assert from 'node:assert/strict';
import test from 'node:test';
import { NAMES, choiceOf, chosen, printed, shapeOf } from '../minify/shape.mjs';

/** Shadows, captures, shared parameters, patterns with defaults, and orders that matter. */
const program = `
let first=1,second=2,total=0;const add=(one,other)=>one*10+other,twice=(one)=>{const {value:inner,more:rest=3}=one;return add(inner,rest)},
counted=(step)=>(total+=step),table={alpha:1,beta:2,gamma:total},early=({deep:[one,two]},three=one)=>{let early=two;return early-three+one};
let log=[];for(let index=0;index<3;index++){let last=index,next=add(last,first),seen=[last,next];log.push(()=>add(seen[0],seen[1])+last)}
const order={before:counted(5),after:total},pair=[add(counted(1),total),add(total,counted(1))];
const weigh=(left,right)=>left<right?Math.max(left,counted(2)):Math.min(right,left);
try{throw{reason:"x"}}catch({reason}){log.push(()=>reason)}
const known="one_a two_b:x,y three_c four_d".split(" ").sort().join();
export{first as exported,log};
globalThis.result=JSON.stringify([twice({value:4}),twice({more:1,value:2}),early({deep:[1,2]}),early({deep:[5,9]},7),log.map((one)=>one()),order,pair,weigh(2,3),weigh(9,4),Object.entries(table).sort(),known,second,total]);`;

const resultOf = async (text) => {
  await import('data:text/javascript,' + encodeURIComponent(text));
  return globalThis.result;
};

const random = (seed) => (n) => Math.floor(((seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32) * n);

test('random names and orders', async () => {
  const expected = await resultOf(program);
  const shape = shapeOf(program);
  assert.ok(shape.orders.length > 8, 'nothing to choose from');
  const texts = new Set();
  for (let seed = 1; seed <= 300; seed++) {
    const next = random(seed);
    const letters = NAMES.slice(0, 4 + next(30));
    const names = shape.variables.map(({ labels }) => (next(4) || !labels.size ? letters[next(letters.length)] : [...labels][0]));
    const places = shape.orders.map(({ length }) => Array.from({ length }, (_, n) => n).sort(() => next(3) - 1));
    const text = printed(shape, choiceOf(shape, names, places));
    texts.add(text);
    assert.equal(await resultOf(text), expected, text);
  }
  assert.ok(texts.size > 250);
});

test('what was chosen of another program does no harm', async () => {
  const shape = shapeOf(program);
  const { names, places } = chosen(shape);
  const choice = choiceOf(shape, names, places);
  const other = program.replace('const add=(one,other)=>one*10+other', 'const add=(one,other,third=1)=>one*10+other*third').replace(',second=2', ',second=2,third=3');
  assert.equal(await resultOf(printed(shapeOf(other), choice)), await resultOf(other));
});

test('a choice that changes the program is no choice', () => {
  const shape = shapeOf('const one=1,other=()=>one;export{other}');
  const print = shape.print;
  assert.throws(() => printed({ ...shape, print: (names, places) => print(names.map(() => 'e'), places) }, {}), /changes the program|already been declared/);
});
