// The shared worker: one stream for all pages of a browser. A page loads this file as well, for what it shares with the worker,
// and where there is no such worker it holds the stream itself.
import { Hub, type Want } from './stream';

export * from './live';
export { Hub };

if (!('document' in globalThis)) {
  const hub = new Hub();
  addEventListener('connect', (event) => {
    const [port] = (event as MessageEvent).ports;
    const page = hub.join((said) => port.postMessage(said));
    port.onmessage = ({ data }: MessageEvent<Want | null>) => (data ? page.want(data) : page.leave());
    port.addEventListener('close', () => page.leave());
  });
}
