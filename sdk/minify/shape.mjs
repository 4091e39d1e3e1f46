// What may be chosen in a program without changing what it does: the names of its variables, and the order of what has
// none. gzip is shorter on a text that repeats itself, so that the choice is worth 8 % of the library's weight.
import { parse } from 'acorn';
import { analyze } from 'eslint-scope';

/** Letters, the most frequent of such programs first, and names of two letters for what is left. */
const ONE = [...'etnaosrilcfumdhpwygbvk_xqzMSOjDEBLNPTCAIJRKUFHQVGWXYZ$'];
const TWO = [...'etanos'].flatMap((one) => ONE.slice(0, 22).map((other) => one + other)).filter((name) => !/^(as|do|if|in|of)$/.test(name));
export const NAMES = [...ONE, ...TWO];

/** Comparisons, and what they are with their sides changed. */
const TURNED = { '==': '==', '!=': '!=', '<': '>', '>': '<', '<=': '>=', '>=': '<=' };

const isFunction = (node) => /Function/.test(node?.type);
const children = (node) => Object.values(node).flat().filter((value) => value?.type);
const visit = (node, work) => { work(node); children(node).forEach((child) => visit(child, work)); };

/** Whether to evaluate it does nothing else. Nothing here has getters or conversions with effects. */
const isPure = (node) =>
  /^(Identifier|Literal)$/.test(node.type) || isFunction(node) ? true
  : node.type === 'Property' ? isPure(node.value) && (!node.computed || isPure(node.key))
  : node.type === 'UnaryExpression' ? node.operator !== 'delete' && isPure(node.argument)
  : node.type === 'MemberExpression' ? isPure(node.object) && (!node.computed || isPure(node.property))
  : /^(Array|Object|Binary|Logical|Conditional|Chain)Expression$/.test(node.type) && children(node).every(isPure);

const program = (code) => {
  const ast = parse(code, { ecmaVersion: 2022, sourceType: 'module', ranges: true });
  const { scopes } = analyze(ast, { ecmaVersion: 2022, sourceType: 'module' });
  const free = new Set(scopes[0].through.map(({ identifier }) => identifier.name));
  return { ast, free, variables: scopes.flatMap(({ variables }) => variables).filter(({ identifiers }) => identifiers[0]) };
};

/**
 * A program, and what may be chosen in it:
 * - `variables`: each with what it stands in at the `top`, its names outside (`labels`), and the variables that must not have the same name (`others`);
 * - `orders`: lists that may come in any order, each with its `top`; some stand for several lists of one order, such as
 *   the parameters of a function and the arguments of its calls;
 * - `print(names, orders)` gives the text.
 */
export function shapeOf(given) {
  // What stands first in a declaration decides whether a space does.
  const code = given.replace(/\b(let|var)(?=[[{])/g, '$1 ');
  const { ast, free, variables: found } = program(code);
  const tops = ast.body.flatMap((node) => (node.type === 'VariableDeclaration' ? node.declarations : [node]));
  /** The name of what stands at the top, or nothing for what has none. */
  const topOf = ({ start }) => tops.find((node) => node.start <= start && start < node.end)?.id?.name ?? '';

  // Where names stand. `{ label: name }` is shorter if both are the same.
  const properties = new Map();
  visit(ast, (node) => {
    if (node.type === 'Property' && !node.computed && node.key.type === 'Identifier') {
      const target = node.value.type === 'AssignmentPattern' ? node.value.left : node.value;
      if (target.type === 'Identifier') properties.set(target.start, node);
    }
    if (node.type === 'ExportSpecifier') properties.set(node.local.start, node);
  });
  visit(ast, ({ type }) => { if (/^Class/.test(type)) throw new Error('classes have two names, and the library has none'); });
  const spots = new Map();
  const variables = found.map((variable) => ({ variable, others: new Set(), labels: new Set() }));
  for (const one of variables) {
    const { scope, identifiers, references } = one.variable;
    one.isTop = !scope.upper.upper;
    one.uses = references.length;
    one.isStable = references.every((reference) => reference.init || !reference.isWrite());
    // Where a name must mean this variable: in the scopes from its uses up to its own.
    one.scopes = new Set([scope]);
    for (let { from } of references) for (; from !== scope; from = from.upper) one.scopes.add(from);
    for (const { start, end } of [...identifiers, ...references.map(({ identifier }) => identifier)]) {
      const property = properties.get(start);
      const label = property && (property.exported || property.key).name;
      if (label && !free.has(label)) one.labels.add(label);
      spots.set(start, { one, end, property });
    }
  }
  for (const one of variables)
    for (const other of variables)
      if (one !== other && one.scopes.has(other.variable.scope)) {
        one.others.add(other);
        other.others.add(one);
      }
  variables.sort((one, other) => one.variable.identifiers[0].start - other.variable.identifiers[0].start);
  for (const one of variables) one.top = topOf(one.variable.identifiers[0]);
  const variableAt = (node) => spots.get(node.start)?.one;

  // Lists of what may come in any order.
  const lists = [];
  const list = (nodes, kind, between = ',', otherwise = between, order = {}) => {
    for (let n = 1; n < nodes.length; n++) if (code.slice(nodes[n - 1].end, nodes[n].start) !== between) return (order.isFixed = true);
    if (nodes.length > 1) lists.push({ nodes, kind, between, otherwise, order });
  };
  const isStable = (node) => node.type === 'Literal' || isFunction(node) || (node.type === 'Identifier' && variableAt(node)?.isStable);
  const isAnyOrder = (nodes) => nodes.every(isPure) || (nodes.filter((node) => !isStable(node)).length < 2 && !nodes.some(({ type }) => type === 'SpreadElement'));
  const named = (node) => { const all = new Set(); visit(node, (one) => one.type === 'Identifier' && variableAt(one) && all.add(variableAt(one))); return all; };
  /** Whether its defaults and computed keys do nothing, and need nothing that the pattern makes. */
  const isApartFrom = (node, pattern) => {
    let is = true;
    const made = new Set();
    visit(pattern, (one) => one.type === 'Identifier' && variableAt(one)?.variable.identifiers.some(({ start }) => start === one.start) && made.add(variableAt(one)));
    const check = (one) => (is &&= isPure(one) && ![...named(one)].some((variable) => made.has(variable)));
    visit(node, (one) => { if (one.type === 'AssignmentPattern') check(one.right); if (one.type === 'Property' && one.computed) check(one.key); });
    return is;
  };
  const calls = new Map();
  const functions = new Map();
  visit(ast, (node) => {
    if (node.type === 'ObjectPattern' && node.properties.every((one) => one.type === 'Property' && isApartFrom(one, node))) list(node.properties, 'pattern');
    if (node.type === 'ObjectExpression' && node.properties.every(({ type }) => type === 'Property') && isAnyOrder(node.properties.map(({ value }) => value)))
      list(node.properties, 'properties');
    if (node.type === 'BinaryExpression' && isPure(node.left) && isPure(node.right) && !TURNED[node.left.operator] && !/[\w$]/.test(code[node.start - 1])) {
      const turned = TURNED[node.operator];
      if (turned) list([node.left, node.right], 'sides', node.operator, turned);
    }
    if (node.type === 'CallExpression' && /^Math\.(min|max)$/.test(code.slice(node.callee.start, node.callee.end)) && isAnyOrder(node.arguments)) list(node.arguments, 'extremes');
    // Names of metrics.
    if (node.type === 'Literal' && /^[a-z0-9_:,]+( [a-z0-9_:,]+){3,}$/.test(node.value)) {
      let start = node.start;
      list(node.value.split(' ').map((word) => ({ start: (start += 1), end: (start += word.length) })), 'words', ' ');
    }
    if (node.type === 'VariableDeclaration') {
      // Neighbours that only make functions or constants, and neighbours that only read and do not need each other.
      let run = [];
      let kind;
      for (const one of [...node.declarations, {}]) {
        const is = !one.type ? undefined : !one.init || isFunction(one.init) || one.init.type === 'Literal' ? 'constants' : isPure(one.init) && isApartFrom(one.id, one.id) ? 'reads' : undefined;
        const isApart = is === 'reads' && run.some((before) => [...named(one)].some((variable) => named(before.id).has(variable)) || [...named(one.id)].some((variable) => named(before).has(variable)));
        if (is !== kind || isApart) {
          if (kind) list(run, kind);
          run = [];
        }
        kind = is;
        run.push(one);
      }
    }
    if (node.type === 'VariableDeclarator' && isFunction(node.init)) functions.set(variableAt(node.id), node.init);
    if (node.type === 'CallExpression' && node.callee.type === 'Identifier') calls.set(variableAt(node.callee), [...(calls.get(variableAt(node.callee)) || []), node]);
  });
  for (const [one, { params }] of functions) {
    const all = calls.get(one) || [];
    const isCalledOnly = one.uses === all.length + 1 && all.every(({ arguments: given }) => given.length === params.length && isAnyOrder(given));
    if (!isCalledOnly || params.some((node) => { let has = false; visit(node, ({ type }) => (has ||= /Assignment|Rest/.test(type))); return has; })) continue;
    const order = {};
    list(params, 'parameters', ',', ',', order);
    for (const { arguments: given } of all) list(given, 'parameters', ',', ',', order);
  }
  const groups = new Map();
  for (const one of lists.filter(({ order }) => !order.isFixed)) groups.set(one.order, [...(groups.get(one.order) || []), one]);
  const orders = [...groups.values()].map((all) => ({ lists: all, length: all[0].nodes.length, top: topOf(all[0].nodes[0]) }));

  // The text, as pieces, spots of variables, and lists of such texts.
  const inside = orders.flatMap((order, n) => order.lists.map((one) => ({ ...one, n, start: one.nodes[0].start, end: one.nodes.at(-1).end })))
    .sort((one, other) => one.start - other.start || other.end - one.end);
  const marks = [...spots].map(([start, spot]) => ({ ...spot, start: spot.property ? spot.property.start : start, n: variables.indexOf(spot.one) })).sort((one, other) => one.start - other.start);
  const textOf = (start, end, within) => {
    const text = [];
    let at = start;
    const plain = (until) => {
      for (const mark of marks) {
        if (mark.start < at || mark.end > until) continue;
        const { property } = mark;
        const label = property && (property.exported || property.key).name;
        text.push(code.slice(at, mark.start), { of: mark.n, label, isExport: !!property?.exported });
        at = property?.exported ? property.end : mark.end;
      }
      text.push(code.slice(at, until));
      at = until;
    };
    for (let rest = within; rest[0]; ) {
      const [first] = rest;
      const deeper = rest.filter((one) => one !== first && one.end <= first.end);
      plain(first.start);
      text.push({ n: first.n, parts: first.nodes.map((node) => textOf(node.start, node.end, deeper.filter((one) => one.start >= node.start && one.end <= node.end))), between: first.between, otherwise: first.otherwise });
      at = first.end;
      rest = rest.filter((one) => one !== first && !deeper.includes(one));
    }
    plain(end);
    return text;
  };
  const text = textOf(0, code.length, inside);
  const put = (text, names, places) => {
    let out = '';
    for (const one of text)
      if (typeof one === 'string') out += one;
      else if (one.parts) {
        const place = places[one.n];
        const between = place[0] ? one.otherwise : one.between;
        for (let n = 0; n < place.length; n++) out += (n ? between : '') + put(one.parts[place[n]], names, places);
      } else {
        const name = names[one.of];
        out += !one.label || one.label === name ? name : one.isExport ? `${name} as ${one.label}` : `${one.label}:${name}`;
      }
    return out;
  };
  return { variables, orders, free, print: (names, places) => put(text, names, places).replace(/\b(let|var) (?=[[{])/g, '$1') };
}

/** What was chosen, by what stands at the top: names, and orders, in the order of the program. */
export function choiceOf({ variables, orders }, names, places) {
  const choice = {};
  const at = (top) => (choice[top] ||= [[], []]);
  variables.forEach(({ top }, n) => at(top)[0].push(names[n]));
  orders.forEach(({ top }, n) => at(top)[1].push(places[n].join(' ')));
  return Object.fromEntries(Object.entries(choice).map(([top, [names, places]]) => [top, [names.join(' '), places.join(',')]]));
}

/** What was chosen before, as far as it fits, and something that is right for the rest. */
export function chosen({ variables, orders }, choice = {}) {
  const before = new Map(Object.entries(choice).map(([top, [names, places]]) => [top, [names.split(' '), places.split(',')]]));
  const next = (top, n) => before.get(top)?.[n].shift();
  const given = new Map();
  const isRight = (one, name) => (NAMES.includes(name) || one.labels.has(name)) && ![...one.others].some((other) => given.get(other) === name);
  const left = variables.filter((one) => {
    const name = next(one.top, 0);
    if (!isRight(one, name)) return true;
    given.set(one, name);
  });
  // What all functions share leaves the first letters to their parameters.
  for (const one of left.filter(({ isTop }) => isTop).sort((one, other) => other.uses - one.uses)) given.set(one, NAMES.slice(5).find((name) => isRight(one, name)));
  for (const one of left) if (!one.isTop) given.set(one, NAMES.find((name) => isRight(one, name)));
  const places = orders.map(({ top, length }) => {
    const place = (next(top, 1) || '').split(' ').map(Number);
    return place.length === length ? place : Array.from({ length }, (_, n) => n);
  });
  return { names: variables.map((one) => given.get(one)), places };
}

/** The program with what was chosen. It must use the same variables in as many places, and nothing else from outside. */
export function printed(shape, choice) {
  const { names, places } = chosen(shape, choice);
  const text = shape.print(names, places);
  const { free, variables } = program(text);
  const uses = (all) => all.sort((one, other) => one - other).join();
  const isSame = uses(variables.map(({ references }) => references.length)) === uses(shape.variables.map((one) => one.uses)) && [...free].sort().join() === [...shape.free].sort().join();
  if (!isSame) throw new Error('What was chosen changes the program.');
  return text;
}
