// What the corner shop sells. The pictures are drawn here, so that the example needs no files of others.

const HUES = { Bakery: 32, Fresh: 120, Drinks: 205, Sweets: 330, Kiosk: 265 };

const cup = (liquid) => `<path d="M30 26h30v22a11 11 0 0 1-11 11H41a11 11 0 0 1-11-11z" fill="#f6f1e7"/><path d="M60 31h6a7 7 0 0 1 0 15h-6" fill="none" stroke="#f6f1e7" stroke-width="4"/><ellipse cx="45" cy="27" rx="15" ry="4" fill="${liquid}"/><path d="M39 18q-3-4 0-8m8 8q-3-4 0-8" fill="none" stroke="#fff" stroke-opacity=".6" stroke-width="2.5" stroke-linecap="round"/>`;
const bottle = (glass, label) => `<path d="M43 8h10v9q8 4 8 13v25a6 6 0 0 1-6 6H41a6 6 0 0 1-6-6V30q0-9 8-13z" fill="${glass}"/><path d="M43 6h10v6H43z" fill="#39424e"/><path d="M35 35h26v14H35z" fill="${label}"/>`;
const fruit = (skin, shade) => `<circle cx="48" cy="39" r="20" fill="${skin}"/><path d="M33 48a20 20 0 0 0 33-1q-14 9-33 1" fill="${shade}"/><path d="M48 20q1-7 6-10" fill="none" stroke="#6b4a2b" stroke-width="3.5" stroke-linecap="round"/><path d="M52 15q8-7 14-1-7 6-14 1" fill="#6cc36a"/>`;
const loaf = (crust, crumb) => `<path d="M20 34q0-14 16-14h24q16 0 16 14 0 6-5 8v13a4 4 0 0 1-4 4H29a4 4 0 0 1-4-4V42q-5-2-5-8" fill="${crust}"/><path d="M26 35q0-9 11-9h22q11 0 11 9 0 4-5 5v13H31V40q-5-1-5-5" fill="${crumb}"/>`;
const box = (side, front, mark) => `<path d="M32 16h28l6 8v36H38l-6-8z" fill="${side}"/><path d="M38 24h28v36H38z" fill="${front}"/><circle cx="52" cy="42" r="8" fill="${mark}"/>`;
const bar = (wrap, foil) => `<path d="M18 30l54-8 4 22-54 8z" fill="${wrap}"/><path d="M18 30l13-2 4 22-13 2z" fill="${foil}"/><path d="M39 36l28-4m-27 10l20-3" stroke="#fff" stroke-opacity=".7" stroke-width="3" stroke-linecap="round"/>`;

const ROWS = [
  ['Espresso', 'Drinks', 220, cup('#4a2c1a')],
  ['Flat white', 'Drinks', 340, cup('#b98a5e')],
  ['Green tea', 'Drinks', 260, cup('#9bb65a')],
  ['Still water', 'Drinks', 150, bottle('#8fd0f0', '#e8f6fd')],
  ['Apple juice', 'Drinks', 290, bottle('#e0b341', '#fff4d0')],
  ['Whole milk', 'Fresh', 165, box('#b9cbe0', '#f3f7fc', '#4d8ad6')],
  ['Sourdough', 'Bakery', 480, loaf('#9b5d2a', '#d99b58')],
  ['Toast', 'Bakery', 230, loaf('#b97a3c', '#f4dfb8')],
  ['Croissant', 'Bakery', 190, '<path d="M14 48q2-28 34-30 32 2 34 30-8 4-13-4-6-11-21-11T27 44q-5 8-13 4" fill="#d98f3d"/><path d="M32 24l6 13m10-19v15m16-9l-6 13" stroke="#a8631f" stroke-width="3.5" stroke-linecap="round"/>'],
  ['Cinnamon roll', 'Bakery', 270, '<circle cx="48" cy="39" r="22" fill="#c98242"/><path d="M48 39q6-4 6 3t-10 4-8-12 16-9 15 17-20 16" fill="none" stroke="#7d451b" stroke-width="4" stroke-linecap="round"/>'],
  ['Apple', 'Fresh', 60, fruit('#e2574c', '#b73c35')],
  ['Orange', 'Fresh', 75, fruit('#f39a37', '#cf7a1e')],
  ['Banana', 'Fresh', 45, '<path d="M24 20q2 34 44 32 8-1 8-6-30 1-43-27-5-4-9 1" fill="#f4d34c"/><path d="M24 20q2 34 44 32-30-5-38-33-4-2-6 1" fill="#dbb32f"/><path d="M22 14l6-1 2 6-5 3z" fill="#6b5222"/>'],
  ['Six eggs', 'Fresh', 310, '<ellipse cx="33" cy="33" rx="10" ry="13" fill="#f3e3cf"/><ellipse cx="63" cy="33" rx="10" ry="13" fill="#e6cba9"/><ellipse cx="48" cy="31" rx="11" ry="14" fill="#fbf1e2"/><path d="M16 38h64l-6 20H22z" fill="#7b8794"/>'],
  ['Mountain cheese', 'Fresh', 590, '<path d="M18 48L60 18q18 6 18 22v8z" fill="#f6c945"/><path d="M18 48h60v10H18z" fill="#e0a92c"/><circle cx="52" cy="38" r="5" fill="#d99c22"/><circle cx="66" cy="42" r="3.5" fill="#d99c22"/><circle cx="38" cy="53" r="3" fill="#c98d1c"/>'],
  ['Dark chocolate', 'Sweets', 320, bar('#5b3524', '#d7b26b')],
  ['Nut bar', 'Sweets', 180, bar('#2f7d6b', '#d9dee4')],
  ['Oat cookie', 'Sweets', 140, '<circle cx="48" cy="38" r="22" fill="#c88f4f"/><g fill="#5a3820"><circle cx="41" cy="30" r="3.5"/><circle cx="56" cy="33" r="3"/><circle cx="45" cy="46" r="3.5"/><circle cx="58" cy="47" r="2.5"/><circle cx="34" cy="41" r="2.5"/></g>'],
  ['Liquorice', 'Sweets', 210, '<g fill="none" stroke="#2a2730" stroke-width="7" stroke-linecap="round"><path d="M26 48q0-22 22-22t22 22"/><path d="M36 50q0-13 12-13t12 13"/></g>'],
  ['Newspaper', 'Kiosk', 280, '<path d="M22 16h46v44H28a6 6 0 0 1-6-6z" fill="#f2efe8"/><path d="M68 26h8v28a6 6 0 0 1-12 0z" fill="#cfc9bc"/><path d="M28 24h34M28 50h34M28 44h34M48 32h14M48 38h14" stroke="#5b6470" stroke-width="3"/><path d="M28 30h14v9H28z" fill="#8d99a6"/>'],
  ['Tulips', 'Kiosk', 650, '<path d="M48 62V34M34 60l10-24m18 24L52 36" stroke="#5ea45c" stroke-width="4" stroke-linecap="round"/><g fill="#ef5d7d"><path d="M40 18l8 6 8-6v12a8 8 0 0 1-16 0z"/></g><path d="M22 24l8 5 7-7 1 11a8 8 0 0 1-15 2z" fill="#f59f4c"/><path d="M74 24l-8 5-7-7-1 11a8 8 0 0 0 15 2z" fill="#b86bdc"/>'],
];

export const products = ROWS.map(([name, category, cents], index) => ({
  id: index + 1,
  name,
  category,
  cents,
  barcode: String(4_006_381_000_000 + (index + 1) * 137),
  image: `/images/${index + 1}.svg`,
}));

export function imageOf(id) {
  const row = ROWS[id - 1];
  if (!row) return;
  const [, category, , drawing] = row;
  const hue = HUES[category];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 72"><defs><linearGradient id="g" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="hsl(${hue} 38% 34%)"/><stop offset="1" stop-color="hsl(${hue} 42% 20%)"/></linearGradient></defs><path d="M0 0h96v72H0z" fill="url(#g)"/><ellipse cx="48" cy="62" rx="30" ry="4" fill="#000" fill-opacity=".25"/>${drawing}</svg>`;
}
