// The settings in force, and which of them somebody has set.
import { place, set, useAnswer } from '../state';
import { grouped, plural } from '../format';
import { Heading, Notice, Scroll, Search, Segments } from '../ui';

interface Setting { name: string; variable: string; value: string | null; default: string | null; source: 'default' | 'given'; is_reloadable: boolean; help: string }
interface Settings { settings: Setting[]; file: string | null }

const said = (value: string | null): string => (value === null ? 'not set' : value || 'empty');
const differs = (one: Setting): boolean => one.value !== one.default;

export function SettingsView() {
  const { params } = place.value;
  const answer = useAnswer<Settings>('api/v1/settings', 30_000);
  const { data } = answer;
  const all = data?.settings ?? [];
  const changed = all.filter(differs);
  const words = (params.find ?? '').toLowerCase().split(/\s+/).filter(Boolean);
  const shown = (params.only === 'changed' ? changed : all).filter(({ name, variable, help, value }) => words.every((word) => `${name}\n${variable}\n${help}\n${value ?? ''}`.toLowerCase().includes(word)));
  return (
    <>
      <header class="head">
        <div><Heading>Settings</Heading><p class="sub">A flag wins over a variable, a variable over the file, and the file over the default.</p></div>
      </header>
      <Notice of={answer} />
      {data && <>
        <div class="bar is-first">
          <Segments label="Which" options={[{ value: '', text: `all ${grouped(all.length)}` }, { value: 'changed', text: `other than the default ${grouped(changed.length)}` }]} chosen={[params.only ?? '']} onChoose={(only) => set({ only }, true)} />
          <Search value={params.find ?? ''} hint="Find a setting" onInput={(find) => set({ find }, true)} />
        </div>
        <p class="sub">{data.file === null ? 'There is no file of settings.' : <>Read from <code>{data.file}</code>, and again at SIGHUP.</>}</p>
        <p class="hidden" role="status">{plural(shown.length, 'setting')}</p>
        {shown.length === 0 ? <p class="nothing">{words.length ? 'No setting has these words.' : 'Every setting has its default.'}</p> : (
          <Scroll label="Settings"><table class="settings" role="table">
            <thead><tr><th>Setting</th><th>In force</th><th>Default</th><th>Source</th><th>Changes with</th><th>What it does</th></tr></thead>
            <tbody>{shown.map((one) => (
              <tr key={one.name} role="row" tabIndex={-1} data-row="">
                <th scope="row" role="rowheader"><code>{one.name}</code><small>{one.variable}</small></th>
                <td role="cell" data-is="in force" class={differs(one) ? 'is-set' : 'is-quiet'}>{said(one.value)}</td>
                <td role="cell" data-is="default" class={differs(one) ? '' : 'is-quiet'}>{said(one.default)}</td>
                <td role="cell" data-is="source" class={one.source === 'given' ? '' : 'is-quiet'}>{one.source}</td>
                <td role="cell" data-is="changes with" class="is-quiet">{one.is_reloadable ? 'SIGHUP' : 'a restart'}</td>
                <td role="cell" class="sub help">{one.help}</td>
              </tr>
            ))}</tbody>
          </table></Scroll>
        )}
      </>}
    </>
  );
}
