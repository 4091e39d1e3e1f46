// Asks for the key without which the collector answers nothing.
import { useEffect, useRef, useState } from 'preact/hooks';
import { signIn } from '../about';
import { Command, Heading } from '../ui';

const MAKE = 'tillwatch key new --data-dir DIR --scope read --name console';

export function SignIn() {
  const field = useRef<HTMLInputElement>(null);
  const [said, setSaid] = useState('');
  const [isBusy, setIsBusy] = useState(false);
  useEffect(() => field.current?.focus(), []);
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    // The key is in the field alone, and leaves it once it is taken.
    const key = field.current!.value.trim();
    setSaid('');
    setIsBusy(true);
    const wrong = key ? await signIn(key) : 'Enter a key.';
    setIsBusy(false);
    setSaid(wrong);
    if (!wrong && field.current) field.current.value = '';
    field.current?.select();
  };
  return (
    <div class="empty">
      <Heading>Sign in</Heading>
      <p>This collector answers whoever has a key with the scope <code>read</code>.</p>
      <form class="signin" method="post" onSubmit={send}>
        <input type="text" autocomplete="username" value="tillwatch console" readonly hidden />
        <label class="field"><span>Key</span>
          <input ref={field} type="password" autocomplete="current-password" spellcheck={false} placeholder="tw_…" required aria-invalid={said ? true : undefined} aria-describedby="key-said key-how" />
        </label>
        <button type="submit" class="button is-main" disabled={isBusy}>{isBusy ? 'Asking …' : 'Sign in'}</button>
      </form>
      <p id="key-said" class="is-critical" role="alert">{said}</p>
      <p id="key-how">A key begins with <code>tw_</code>. Whoever runs the collector makes one on its machine, where <code>DIR</code> is the data folder:</p>
      <Command text={MAKE} />
      <p class="sub">The browser keeps a cookie until you sign out, and never the key.</p>
    </div>
  );
}
