/** Reads an event stream (text/event-stream) from pieces of any size. */

export interface SseBlock {
  id: string | null;
  data: string | null;
}

/** More than a snapshot can be; beyond it the stream is not one of ours. */
const BLOCK_CHARS_MAX = 32 << 20;

export class SseParser {
  private rest = '';
  private id: string | null = null;
  private data: string[] = [];
  private chars = 0;

  /** The blocks that `text` completes. Comments and `retry:` leave no trace. */
  push(text: string): SseBlock[] {
    const blocks: SseBlock[] = [];
    const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop()!;
    if (this.rest.length + this.chars > BLOCK_CHARS_MAX) throw new Error('the block is too long');
    for (const line of lines) {
      if (line !== '') {
        this.take(line);
      } else if (this.id !== null || this.data.length > 0) {
        blocks.push({ id: this.id, data: this.data.length ? this.data.join('\n') : null });
        this.id = null;
        this.data = [];
        this.chars = 0;
      }
    }
    return blocks;
  }

  private take(line: string): void {
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'id' && !value.includes('\0')) this.id = value;
    if (field === 'data') {
      this.data.push(value);
      this.chars += value.length;
      if (this.chars > BLOCK_CHARS_MAX) throw new Error('the block is too long');
    }
  }
}
