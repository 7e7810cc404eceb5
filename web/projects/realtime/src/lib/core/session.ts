/**
 * One run of the client, from `start` to `stop`, for one user: alone, or with the other tabs as
 * the one that holds the connection or as one that does not.
 */
import {
  ConnectedDesk,
  failure,
  isInterrupted,
  type AnyCommand,
  type AnswerFrame,
  type CommandDesk,
} from './commands';
import { Connector } from './connector';
import type { Gate } from './gate';
import type { LinkContext } from './links/link';
import type { BrowserSignal, ChannelLike, LocksLike, Platform } from './platform';
import { NOTHING_KNOWN } from './report';
import type { ConnectionRole } from './status';
import type { BoardInput } from './status-board';
import { Election } from './tabs/election';
import { Follower } from './tabs/follower';
import { Leader } from './tabs/leader';
import { TABS_VERSION, type TabMessage } from './tabs/messages';
import type { Cursor, Frame } from './types';

type OpenChannel = NonNullable<Platform['openChannel']>;

export interface SessionHandlers {
  frame(frame: Frame): void;
  moved(): void;
  changed(): void;
}

export class Session implements CommandDesk {
  private readonly id = Math.random().toString(36).slice(2);
  private connector: Connector | null = null;
  private desk: ConnectedDesk | null = null;
  private leader: Leader | null = null;
  private follower: Follower | null = null;
  private channel: ChannelLike | null = null;
  private election: Election | null = null;
  /** What it takes to share with other tabs; `null`: alone. */
  private readonly tabs: { name: string; openChannel: OpenChannel; locks: LocksLike } | null = null;

  constructor(
    private readonly gate: Gate,
    private readonly context: LinkContext,
    sharedAs: string | null,
    private readonly handlers: SessionHandlers,
  ) {
    const { openChannel, locks } = context.platform;
    if (sharedAs !== null && openChannel && locks) {
      const name = `condorito-realtime/${TABS_VERSION}/${sharedAs}`;
      this.tabs = { name, openChannel, locks };
    }
    this.join();
  }

  get board(): BoardInput {
    const role: ConnectionRole = this.leader ? 'leader' : this.follower ? 'follower' : 'alone';
    const report = this.connector?.report() ?? this.follower?.connection ?? NOTHING_KNOWN;
    return { role, report };
  }

  async execute(command: AnyCommand, key: string): Promise<AnswerFrame> {
    for (;;) {
      const desk = this.desk ?? this.follower;
      if (!desk) return failure(command.ref, 'not_connected', 'There is no connection.');
      const answer = await desk.execute(command, key);
      // Another tab has the connection now. With the same key it is done once.
      if (!isInterrupted(answer)) return answer;
    }
  }

  signal(signal: BrowserSignal): void {
    if (this.tabs && signal === 'hide') return this.leave();
    if (this.tabs && this.channel === null) return this.join();
    if (signal !== 'hide') this.connector?.wake(signal);
  }

  close(): void {
    this.leave();
    this.disconnect();
  }

  private join(): void {
    if (!this.tabs) {
      this.connect();
      return;
    }
    const { name, openChannel, locks } = this.tabs;
    const { leaderAnswerMs } = this.context.options.timings;
    this.channel = openChannel(name);
    this.channel.onmessage = ({ data }) => {
      const message = data as TabMessage;
      if (this.leader) this.leader.hear(message);
      else this.follower?.hear(message);
    };
    this.follow(leaderAnswerMs);
    this.election = new Election(name, locks, {
      elected: () => this.lead(),
      deposed: () => {
        this.disconnect();
        // Whoever took it away is there: it is not taken back soon.
        this.follow(leaderAnswerMs * 12);
      },
    });
  }

  /** A page that is put aside lets another tab hold the connection. */
  private leave(): void {
    if (this.channel === null) return;
    for (const { command, settle } of this.closeFollower().values()) {
      settle(failure(command.ref, 'not_connected', 'The connection was ended.'));
    }
    this.disconnect();
    this.election?.close();
    this.channel.onmessage = null;
    this.channel.close();
    this.channel = this.election = null;
    this.handlers.changed();
  }

  private follow(patienceMs: number): void {
    this.follower = new Follower(
      this.id,
      this.gate,
      this.context,
      (message) => this.post(message),
      {
        frame: (frame) => this.handlers.frame(frame),
        moved: () => this.handlers.moved(),
        changed: () => this.handlers.changed(),
        deserted: () => this.election?.takeOver(),
      },
      patienceMs,
    );
    this.handlers.changed();
  }

  private lead(): void {
    const pending = this.closeFollower();
    const { leaderBeatMs } = this.context.options.timings;
    const { connector, desk } = this.connect();
    this.leader = new Leader(
      this.id,
      this.context.platform,
      leaderBeatMs,
      (message) => this.post(message),
      desk,
      () => ({ cursor: this.gate.cursor, report: connector.report() }),
    );
    for (const [key, { command, settle }] of pending) void desk.execute(command, key).then(settle);
    this.handlers.changed();
  }

  private connect(): { connector: Connector; desk: ConnectedDesk } {
    const connector = new Connector(this.gate, this.context, {
      frame: (frame, before) => this.deliver(frame, before),
      moved: (before) => {
        this.leader?.tell(before, null, this.gate.cursor);
        this.handlers.moved();
      },
      changed: () => {
        this.leader?.beat();
        this.handlers.changed();
      },
    });
    const desk = new ConnectedDesk(this.context, connector);
    this.connector = connector;
    this.desk = desk;
    connector.start();
    return { connector, desk };
  }

  private deliver(frame: Frame, before: Cursor | null): void {
    if (this.desk?.takes(frame)) return;
    this.leader?.tell(before, frame, this.gate.cursor);
    this.handlers.frame(frame);
  }

  private disconnect(): void {
    this.leader?.close();
    this.desk?.close();
    this.connector?.stop();
    this.leader = this.desk = this.connector = null;
  }

  private closeFollower(): ReturnType<Follower['close']> {
    const pending = this.follower?.close() ?? new Map();
    this.follower = null;
    return pending;
  }

  private post(message: TabMessage): void {
    this.channel?.postMessage(message);
  }
}
