import {
  ChangeDetectionStrategy,
  Component,
  computed,
  ElementRef,
  inject,
  input,
  type OnInit,
  output,
  signal,
} from '@angular/core';

import type { Message } from '../core/model';
import { I18n } from '../i18n/i18n';
import { isWithProvider, type Entry } from '../state/thread';
import { Dismiss } from '../ui/dismiss';
import { Icon } from '../ui/icon';
import { MessageBody } from './message-body';
import { StatusTick } from './status-tick';

const QUICK_REACTIONS = ['👍', '❤️', '😂', '😮', '🙏', '✅'];
const IN_DOUBT_CODE = -1;

@Component({
  selector: 'cc-message-bubble',
  imports: [Dismiss, Icon, MessageBody, StatusTick],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './message-bubble.html',
  styleUrl: './message-bubble.css',
  host: {
    role: 'listitem',
    '[attr.tabindex]': 'tabindex()',
    '(mouseenter)': 'pointedAt.set(true)',
    '(mouseleave)': 'pointedAt.set(false)',
    '(focusin)': 'focused.set(true)',
    '(focusout)': 'left($event)',
    '[class.out]': "message().direction === 'outbound'",
    '[class.enter]': 'entering',
    '[attr.data-key]': 'entry().key',
    '[attr.data-message]': 'message().id',
  },
})
export class MessageBubble implements OnInit {
  private readonly i18n = inject(I18n);
  private readonly host = inject<ElementRef<HTMLElement>>(ElementRef).nativeElement;
  protected readonly t = this.i18n.t;

  readonly entry = input.required<Entry>();
  /** The message that it answers, where it is known. */
  readonly quoted = input<Message | null>(null);
  /** Whether it comes in while the reader looks on. */
  readonly fresh = input(false);

  /** 0 for the one that the Tab key comes to; arrow keys lead to the others. */
  readonly tabindex = input(-1);

  readonly reply = output<Message>();
  readonly react = output<string>();
  readonly resend = output<void>();
  readonly discard = output<void>();

  protected entering = false;
  protected readonly pointedAt = signal(false);
  protected readonly focused = signal(false);
  protected readonly picking = signal(false);
  protected readonly emojis = QUICK_REACTIONS;

  protected readonly message = computed(() => this.entry().message);
  protected readonly status = computed(() => {
    const { delivery } = this.entry();
    return delivery === 'server' ? this.message().status : delivery;
  });
  protected readonly time = computed(() => this.i18n.time(this.message().timestamp));
  protected readonly sender = computed(() => this.t().thread.senders[this.message().sender]);
  protected readonly edited = computed(() => this.message().payload?.['edited_at'] !== undefined);
  protected readonly forwarded = computed(() => this.message().payload?.['forwarded'] === true);
  protected readonly inDoubt = computed(() => this.message().error?.code === IN_DOUBT_CODE);
  protected readonly isKnown = computed(
    () => this.entry().delivery === 'server' && isWithProvider(this.message()),
  );
  /** What can be done with a message is only there while the reader is at it. */
  protected readonly attended = computed(
    () => this.isKnown() && (this.pointedAt() || this.focused() || this.picking()),
  );
  protected readonly quote = computed(() => {
    const { reply_to } = this.message();
    if (reply_to === null) return null;
    const quoted = this.quoted();
    if (quoted === null) return this.t().thread.replyGone;
    return quoted.text ?? this.t().previews[quoted.type];
  });
  protected readonly failure = computed(() => {
    const { delivery, problem } = this.entry();
    const texts = this.t().thread;
    if (delivery === 'unsent') return { title: texts.unsent, reason: problem ?? '' };
    const { error, status } = this.message();
    if (this.inDoubt()) return { title: texts.inDoubt, reason: texts.inDoubtHelp };
    if (status !== 'failed') return null;
    const parts = [error?.title, error?.detail !== error?.title ? error?.detail : null];
    // Meta's titles mostly begin with the code: «(#131026) Message undeliverable».
    if (error && !error.title.includes(String(error.code))) parts.push(texts.errorCode(error.code));
    return { title: texts.failed, reason: parts.filter((part) => !!part).join(' · ') };
  });

  ngOnInit(): void {
    this.entering = this.fresh();
  }

  protected left({ relatedTarget }: FocusEvent): void {
    if (!(relatedTarget instanceof Node) || !this.host.contains(relatedTarget)) {
      this.focused.set(false);
    }
  }

  protected pick(emoji: string): void {
    this.picking.set(false);
    this.react.emit(emoji);
  }
}
