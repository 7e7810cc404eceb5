import {
  ChangeDetectionStrategy,
  Component,
  computed,
  effect,
  ElementRef,
  inject,
  input,
  output,
  signal,
  untracked,
  viewChild,
} from '@angular/core';
import { WhatsAppRealtimeService } from '@condorito/realtime';

import { Api } from '../core/api';
import type { Conversation, Media, Message, Template } from '../core/model';
import { componentsFor, filledText } from '../core/template-text';
import { ProblemText } from '../core/problem-text';
import { I18n } from '../i18n/i18n';
import { TemplateStore } from '../state/template-store';
import { ThreadStore } from '../state/thread-store';
import { Icon } from '../ui/icon';
import { now } from '../ui/now';
import { TemplatePicker } from './template-picker';

const TEXT_MAX = 4096;
/** WhatsApp shows a contact that somebody writes for 25 s at most. */
const TYPING_EVERY_MS = 10_000;

interface Attachment {
  name: string;
  share: number;
  media: Media | null;
}

@Component({
  selector: 'cc-composer',
  imports: [Icon, TemplatePicker],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './composer.html',
  styleUrl: './composer.css',
  host: { '(dragover)': '$event.preventDefault()', '(drop)': 'dropped($event)' },
})
export class Composer {
  private readonly api = inject(Api);
  private readonly threads = inject(ThreadStore);
  private readonly templates = inject(TemplateStore);
  private readonly realtime = inject(WhatsAppRealtimeService);
  private readonly problems = inject(ProblemText);
  private readonly i18n = inject(I18n);
  private readonly time = now(15_000);
  private readonly drafts = new Map<number, string>();
  private typingToldAt = 0;
  private upload = 0;

  readonly conversation = input.required<Conversation>();
  readonly replyTo = input<Message | null>(null);
  readonly cancelReply = output<void>();
  readonly sent = output<void>();

  protected readonly t = this.i18n.t;
  protected readonly textMax = TEXT_MAX;
  protected readonly box = viewChild<ElementRef<HTMLTextAreaElement>>('box');
  protected readonly text = signal('');
  protected readonly attachment = signal<Attachment | null>(null);
  protected readonly problem = signal<string | null>(null);
  protected readonly choosingTemplate = signal(false);

  private readonly conversationId = computed(() => this.conversation().id);
  private readonly leftMs = computed(() => {
    const { window_expires_at } = this.conversation();
    return window_expires_at === null ? null : Date.parse(window_expires_at) - this.time();
  });
  /** Numbers without templates (WAHA) have no window either. */
  protected readonly windowClosed = computed(() => {
    const left = this.leftMs();
    return left === null ? (this.templates.templates() ?? []).length > 0 : left <= 0;
  });
  protected readonly windowLeft = computed(() => {
    const left = this.leftMs();
    return left === null || left <= 0 ? null : this.i18n.span(Math.max(left, 60_000));
  });
  protected readonly quote = computed(() => {
    const message = this.replyTo();
    return message === null ? null : (message.text ?? this.t().previews[message.type]);
  });
  protected readonly canSend = computed(() => {
    const attachment = this.attachment();
    if (attachment !== null) return attachment.media !== null;
    return this.text().trim() !== '';
  });

  constructor() {
    this.templates.load();
    let before: number | null = null;
    effect(() => {
      const id = this.conversationId();
      untracked(() => {
        if (before !== null) this.drafts.set(before, this.text());
        before = id;
        this.text.set(this.drafts.get(id) ?? '');
        this.removeAttachment();
        this.typingToldAt = 0;
      });
    });
    effect(() => {
      if (this.replyTo() !== null) this.box()?.nativeElement.focus();
    });
  }

  protected wrote(text: string): void {
    this.text.set(text);
    if (text === '') this.tellTyping(false);
    else if (Date.now() - this.typingToldAt > TYPING_EVERY_MS) this.tellTyping(true);
  }

  protected key(event: KeyboardEvent): void {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.send();
  }

  protected send(): void {
    if (!this.canSend() || this.windowClosed()) return;
    const { id, client_id } = this.conversation();
    this.threads.send(id, client_id, {
      text: this.text().trim() || undefined,
      media: this.attachment()?.media ?? undefined,
      replyTo: this.replyTo() ?? undefined,
    });
    this.text.set('');
    this.attachment.set(null);
    // What is sent ends the typing for the contact; a new word tells of it anew.
    this.typingToldAt = 0;
    this.sent.emit();
  }

  protected sendTemplate(chosen: {
    template: Template;
    values: ReadonlyMap<string, string>;
  }): void {
    const { template, values } = chosen;
    const { id, client_id } = this.conversation();
    this.choosingTemplate.set(false);
    this.threads.send(id, client_id, {
      template: {
        name: template.name,
        language: template.language,
        components: componentsFor(template, values),
        text: filledText(template, values),
      },
    });
    this.sent.emit();
  }

  protected chose(picker: HTMLInputElement): void {
    const file = picker.files?.[0];
    picker.value = '';
    if (file) void this.attach(file);
  }

  protected pasted(event: ClipboardEvent): void {
    const file = event.clipboardData?.files[0];
    if (!file) return;
    event.preventDefault();
    void this.attach(file);
  }

  protected dropped(event: DragEvent): void {
    event.preventDefault();
    const file = event.dataTransfer?.files[0];
    if (file && !this.windowClosed()) void this.attach(file);
  }

  protected percent(share: number): number {
    return Math.round(share * 100);
  }

  protected removeAttachment(): void {
    this.upload++;
    this.attachment.set(null);
    this.problem.set(null);
  }

  private async attach(file: File): Promise<void> {
    const upload = ++this.upload;
    const isCurrent = () => upload === this.upload;
    this.problem.set(null);
    this.attachment.set({ name: file.name, share: 0, media: null });
    try {
      const stored = await this.api.upload(file, (share) => {
        if (isCurrent()) this.attachment.update((now) => now && { ...now, share });
      });
      const media: Media = { ...stored, status: 'stored', voice: false, animated: false };
      if (isCurrent()) this.attachment.set({ name: file.name, share: 1, media });
    } catch (failure) {
      if (!isCurrent()) return;
      this.attachment.set(null);
      this.problem.set(this.problems.of(failure));
    }
  }

  private tellTyping(typing: boolean): void {
    if (!typing && this.typingToldAt === 0) return;
    this.typingToldAt = typing ? Date.now() : 0;
    const data = { conversation_id: this.conversationId(), typing };
    this.realtime.sendMessage({ type: 'typing', data });
  }
}
