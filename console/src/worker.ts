// The shared worker: one stream for all pages of a browser. A page without such workers loads this file for its hub.
import { Hub, type Want } from './stream';

export { Hub };

const hub = new Hub();
if (!('document' in globalThis)) addEventListener('connect', (event) => {
  const [port] = (event as MessageEvent).ports;
  const page = hub.join((said) => port.postMessage(said));
  port.onmessage = ({ data }: MessageEvent<Want | null>) => (data ? page.want(data) : page.leave());
  port.addEventListener('close', () => page.leave());
});
