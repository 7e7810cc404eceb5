import { DestroyRef, Injectable, computed, inject, signal, type Signal } from '@angular/core';
import { Observable, Subject, distinctUntilChanged, filter, map } from 'rxjs';
import { RealtimeClient } from './core/client';
import {
  INITIAL_STATUS,
  type ConnectionStatus,
  type TransportKind,
  type WebSocketConnectionState,
} from './core/status';
import {
  EVENT_TYPES,
  type Ack,
  type Command,
  type Cursor,
  type DataByType,
  type EventType,
  type EventsByType,
  type Frame,
  type PublicEvent,
  type Snapshot,
} from './core/types';
import { CONDORITO_REALTIME_OPTIONS, CONDORITO_REALTIME_PLATFORM } from './provide';

/**
 * The feed of the tenant: one for the whole application, whatever transport brings it.
 *
 * Begins with `connect()`. What `onMessage` emits comes in the feed's order, each event once.
 */
@Injectable({ providedIn: 'root' })
export class WhatsAppRealtimeService {
  private readonly client = new RealtimeClient(
    inject(CONDORITO_REALTIME_OPTIONS),
    inject(CONDORITO_REALTIME_PLATFORM, { optional: true }) ?? undefined,
  );
  private readonly frames = new Subject<Frame>();
  private readonly states = new Subject<WebSocketConnectionState>();
  private readonly currentStatus = signal<ConnectionStatus>(INITIAL_STATUS);
  private readonly currentSnapshot = signal<Snapshot | null>(null);

  /** All that an indicator shows: over what, since when, silent, and when it is tried again. */
  readonly indicator: Signal<ConnectionStatus> = this.currentStatus.asReadonly();
  readonly state: Signal<WebSocketConnectionState> = computed(() => this.indicator().state);
  readonly transport: Signal<TransportKind | null> = computed(() => this.indicator().transport);
  /** Where this tab stands; renewed some times a second at most. */
  readonly cursor: Signal<Cursor | null> = computed(() => this.indicator().cursor);
  /** The newest snapshot as it came; events since are not folded into it. */
  readonly snapshot: Signal<Snapshot | null> = this.currentSnapshot.asReadonly();

  constructor() {
    this.client.onStatus((status) => {
      this.currentStatus.set(status);
      this.states.next(status.state);
    });
    this.client.onFrame((frame) => {
      if (frame.type === 'snapshot') this.currentSnapshot.set(frame.data);
      this.frames.next(frame);
    });
    inject(DestroyRef).onDestroy(() => this.client.stop());
  }

  /** Connects, unless that was done before, and tells the state, the present one first. */
  connect(): Observable<WebSocketConnectionState> {
    this.client.start();
    return new Observable<WebSocketConnectionState>((subscriber) => {
      subscriber.next(this.client.status.state);
      return this.states.subscribe(subscriber);
    }).pipe(distinctUntilChanged());
  }

  /** The `data` of all frames of a type: events, `snapshot`, `reset`, `ack`, `error` and others. */
  onMessage<T extends keyof DataByType>(eventType: T): Observable<DataByType[T]>;
  // `any`: the interface that the frontend was written against.
  onMessage(eventType: string): Observable<any>;
  onMessage(eventType: string): Observable<unknown> {
    return this.frames.pipe(
      filter((frame) => frame.type === eventType),
      map((frame) => frame.data),
    );
  }

  /** Whole events, with `id` and `time`: of one type, or all. */
  events(): Observable<PublicEvent>;
  events<T extends EventType>(type: T): Observable<EventsByType[T]>;
  events(type?: EventType): Observable<PublicEvent> {
    return this.frames.pipe(
      filter((frame): frame is PublicEvent =>
        type ? frame.type === type : (EVENT_TYPES as readonly string[]).includes(frame.type),
      ),
    );
  }

  /**
   * Sends a command of the contract, `{type, ref?, data}`, over whatever connects at the moment.
   * The answer comes as `ack` or `error` with the same `ref`, in this tab only.
   */
  // `any`: the interface that the frontend was written against.
  sendMessage(message: any): void {
    this.client.send(message);
  }

  /** Sends a command and waits for its answer; rejects with a `RealtimeCommandError`. */
  request(command: Command): Promise<Ack> {
    return this.client.request(command);
  }

  /** Ends the connection. `connect()` goes on where it was, for the same user. */
  disconnect(): void {
    this.client.stop();
  }
}
