// Puts the built console where the server's build takes it from (web/embed), each file beside its
// compressed forms. Usage: npm run embed, after ng build console.
import { cp, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const web = fileURLToPath(new URL('..', import.meta.url));
const built = join(web, 'dist/console/browser');
const embedded = join(web, 'embed');
const COMPRESSIBLE = new Set(['.js', '.css', '.svg', '.json', '.txt', '.webmanifest']);

for (const name of await readdir(embedded)) {
  if (name !== '.gitignore') await rm(join(embedded, name), { recursive: true });
}
await mkdir(embedded, { recursive: true });
await cp(built, embedded, { recursive: true });

let plainBytes = 0;
let brotliBytes = 0;
for (const entry of await readdir(embedded, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || !COMPRESSIBLE.has(extname(entry.name))) continue;
  const path = join(entry.parentPath ?? entry.path, entry.name);
  const plain = await readFile(path);
  const brotli = brotliCompressSync(plain, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
      [constants.BROTLI_PARAM_SIZE_HINT]: plain.length,
    },
  });
  await writeFile(`${path}.br`, brotli);
  await writeFile(`${path}.gz`, gzipSync(plain, { level: 9 }));
  plainBytes += plain.length;
  brotliBytes += brotli.length;
}
const kib = (bytes) => `${(bytes / 1024).toFixed(0)} KiB`;
console.log(`web/embed: ${kib(plainBytes)}, as the browser gets it ${kib(brotliBytes)}`);
