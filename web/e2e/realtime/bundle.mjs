/** The library's core as one script for a page without a framework: `condorito.RealtimeClient`. */
import { build } from 'esbuild';
import { fileURLToPath } from 'node:url';

const ENTRY = new URL('../../projects/realtime/src/lib/core/client.ts', import.meta.url);

export async function bundleCore() {
  const result = await build({
    entryPoints: [fileURLToPath(ENTRY)],
    bundle: true,
    format: 'iife',
    globalName: 'condorito',
    write: false,
    target: 'es2022',
    tsconfigRaw: {},
  });
  return result.outputFiles[0].text;
}
