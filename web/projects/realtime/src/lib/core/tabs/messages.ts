/** What the tabs of a browser say to one another. */
import type { AnswerFrame, AnyCommand } from '../commands';
import type { ConnectorReport } from '../report';
import type { Cursor, Frame } from '../types';

/** Tabs with another version of the library do not understand each other, and do not share. */
export const TABS_VERSION = 1;

export type TabMessage =
  /** The tab with the connection lives, and stands there. */
  | { kind: 'beat'; from: string; cursor: Cursor | null; report: ConnectorReport }
  /** A frame, or a move of the cursor without one; `before`: where the feed stood. */
  | {
      kind: 'feed';
      from: string;
      before: Cursor | null;
      frame: Frame | null;
      cursor: Cursor | null;
    }
  /** Another tab is there, and asks for a beat if `asks`. */
  | { kind: 'present'; from: string; asks: boolean }
  | { kind: 'command'; from: string; key: string; command: AnyCommand }
  | { kind: 'answer'; to: string; key: string; frame: AnswerFrame };
