// The settings in force, and which of them somebody has set.
import { place, set, useAnswer } from '../state';
import { grouped, plural } from '../format';
import { Heading, Notice, Scroll, Search, Segments, Heads } from '../ui';

interface Setting { name: string; variable: string; value: string | null; default: string | null; is_given: boolean; is_reloadable: boolean; help: string }
export interface Settings { settings: Setting[] }

const said = (value: string | null): string => (value === null ? 'not set' : value || 'empty');

export function SettingsView() {
  const { params } = place.value;
  const answer = useAnswer<Settings>('api/v1/settings', 30_000);
  const { data } = answer;
  const all = data?.settings ?? [];
  const changed = all.filter(({ is_given }) => is_given);
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
        <p class="hidden" role="status">{plural(shown.length, 'setting')}</p>
        {shown.length === 0 ? <p class="nothing">{words.length ? 'No setting has these words.' : 'Every setting has its default.'}</p> : (
          <Scroll label="Settings"><table class="settings" role="table">
            <Heads of="Setting|In force|Default|Changes with|What it does" />
            <tbody>{shown.map((one) => (
              <tr key={one.name} role="row" tabIndex={-1} data-row="">
                <th scope="row" role="rowheader"><code>{one.name}</code><small>{one.variable}</small></th>
                <td role="cell" data-is="in force" class={one.is_given ? 'is-set' : 'is-quiet'}>{said(one.value)}</td>
                <td role="cell" data-is="default" class={one.is_given ? '' : 'is-quiet'}>{said(one.default)}</td>
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
