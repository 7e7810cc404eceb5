/**
 * Takes frames in, from whichever link: moves the gate, and hands on what the application is to
 * get. Knows what `hello`, `snapshot` and `reset` mean for where the tab stands.
 */
import type { Gate } from './gate';
import type { Cursor, Frame, PublicEvent, ResetFrame } from './types';

export interface IntakeHandlers {
  /** A frame for the application. `before`: where the tab stood. */
  frame(frame: Frame, before: Cursor | null): void;
  /** The cursor has moved without a frame. */
  moved(before: Cursor | null): void;
}

export type Taken =
  | 'taken'
  /** It was had before, or nothing can be made of it. */
  | 'passed-over'
  /** The feed can't be continued on any link: one has to begin anew from the gate's cursor. */
  | 'reset';

export class Intake {
  /** The last event taken. */
  newestEvent: Cursor | null = null;

  constructor(
    private readonly gate: Gate,
    /** After a reset, and at the beginning, only a snapshot says where the tab stands. */
    private readonly wantsSnapshot: boolean,
    private readonly handlers: IntakeHandlers,
  ) {}

  take(frame: Frame): Taken {
    if ('id' in frame) return this.event(frame);
    switch (frame.type) {
      case 'hello':
        if (this.gate.cursor === null && !this.wantsSnapshot) this.standAt(frame.data.cursor);
        break;
      case 'snapshot':
        if (this.gate.cursor !== null) return 'passed-over';
        this.gate.restart(frame.data.cursor);
        break;
      case 'reset':
        return this.reset(frame);
    }
    this.handlers.frame(frame, this.gate.cursor);
    return 'taken';
  }

  /** The feed has come that far without an event to show for it. Returns whether that is news. */
  move(cursor: Cursor): boolean {
    const before = this.gate.cursor;
    if (before === null) {
      if (!this.wantsSnapshot) this.standAt(cursor);
      return !this.wantsSnapshot;
    }
    if (!this.gate.moveTo(cursor)) return false;
    this.handlers.moved(before);
    return true;
  }

  private event(event: PublicEvent): Taken {
    const before = this.gate.cursor;
    switch (this.gate.judge(event)) {
      case 'new':
      case 'late':
        this.newestEvent = this.gate.cursor;
        this.handlers.frame(event, before);
        return 'taken';
      case 'foreign':
        return this.reset({ type: 'reset', data: { reason: 'unknown_cursor', cursor: event.id } });
      case 'early':
      case 'duplicate':
        return 'passed-over';
    }
  }

  private reset(frame: ResetFrame): Taken {
    const before = this.gate.cursor;
    this.gate.restart(this.wantsSnapshot ? null : frame.data.cursor);
    this.newestEvent = null;
    this.handlers.frame(frame, before);
    return 'reset';
  }

  private standAt(cursor: Cursor): void {
    this.gate.restart(cursor);
    this.handlers.moved(null);
  }
}
