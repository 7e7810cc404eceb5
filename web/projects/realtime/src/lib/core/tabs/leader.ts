/** The tab that holds the connection: brings the others all that it gets, and does their commands. */
import { isInterrupted, type CommandDesk } from '../commands';
import type { ConnectorReport } from '../report';
import type { Platform } from '../platform';
import { Timers } from '../timers';
import type { Cursor, Frame } from '../types';
import type { TabMessage } from './messages';

/** Without a word from other tabs for that long there are none, and nothing is told. */
const PRESENCE_MS = 120_000;

export class Leader {
  private readonly timers = new Timers<'beat'>();
  private presentAt = -Infinity;

  constructor(
    private readonly id: string,
    private readonly platform: Platform,
    private readonly beatMs: number,
    private readonly post: (message: TabMessage) => void,
    private readonly desk: CommandDesk,
    private readonly read: () => { cursor: Cursor | null; report: ConnectorReport },
  ) {
    this.beat();
  }

  /** Shows the others that it lives, and how the connection is. */
  beat(): void {
    this.post({ kind: 'beat', from: this.id, ...this.read() });
    this.timers.set('beat', this.beatMs, () => this.beat());
  }

  tell(before: Cursor | null, frame: Frame | null, cursor: Cursor | null): void {
    if (this.platform.now() - this.presentAt > PRESENCE_MS) return;
    this.post({ kind: 'feed', from: this.id, before, frame, cursor });
  }

  hear(message: TabMessage): void {
    if (message.kind === 'present') {
      this.presentAt = this.platform.now();
      if (message.asks) this.beat();
    } else if (message.kind === 'command') {
      const { key, from, command } = message;
      void this.desk.execute(command, key).then((frame) => {
        // Of one that was not finished the other tab asks the successor.
        if (!isInterrupted(frame)) this.post({ kind: 'answer', to: from, key, frame });
      });
    }
  }

  close(): void {
    this.timers.clearAll();
  }
}
