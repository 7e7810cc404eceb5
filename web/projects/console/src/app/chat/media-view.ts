import {
  ChangeDetectionStrategy,
  Component,
  computed,
  DestroyRef,
  effect,
  ElementRef,
  inject,
  input,
  signal,
  untracked,
} from '@angular/core';

import type { Media, MessageType } from '../core/model';
import { MediaCache } from '../core/media-cache';
import { ApiProblem } from '../core/problem';
import { ProblemText } from '../core/problem-text';
import { I18n } from '../i18n/i18n';
import { Icon } from '../ui/icon';
import { Modal } from '../ui/modal';

/** A medium: images load when they come into view, others when asked for. */
@Component({
  selector: 'cc-media-view',
  imports: [Icon, Modal],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    @if (media().status === 'failed' || media().id === null) {
      <p class="note soft"><cc-icon name="alert" />{{ t().media.failed }}</p>
    } @else if (problem(); as problem) {
      <p class="note soft">
        <cc-icon name="alert" />{{ problem }}
        <button type="button" class="link-button" (click)="load()">{{ t().app.retry }}</button>
      </p>
    } @else if (isPicture()) {
      @if (url(); as url) {
        <button
          type="button"
          class="picture"
          [class.sticker]="type() === 'sticker'"
          [attr.aria-label]="t().media.enlarge"
          (click)="enlarged.set(true)"
        >
          <img [src]="url" [alt]="name()" />
        </button>
        @if (enlarged()) {
          <cc-modal
            [heading]="name()"
            [closeLabel]="t().app.close"
            (dismissed)="enlarged.set(false)"
          >
            <img class="large" [src]="url" [alt]="name()" />
          </cc-modal>
        }
      } @else {
        <div class="waiting" role="status">
          <span class="visually-hidden">{{ t().media.pending }}</span>
        </div>
      }
    } @else if (url(); as url) {
      @switch (type()) {
        @case ('audio') {
          <audio controls [src]="url" [attr.aria-label]="name()"></audio>
        }
        @case ('video') {
          <video controls [src]="url" [attr.aria-label]="name()"></video>
        }
        @default {
          <a class="file" [href]="url" [download]="name()">
            <cc-icon name="download" /><span>{{ name() }}</span>
          </a>
        }
      }
    } @else {
      <button type="button" class="file" [disabled]="loading()" (click)="load()">
        <cc-icon [name]="type() === 'document' ? 'file' : 'play'" />
        <span>
          {{ name() }}
          <small class="soft">{{ loading() ? t().media.pending : details() }}</small>
        </span>
      </button>
    }
  `,
  styleUrl: './media-view.css',
})
export class MediaView {
  private readonly cache = inject(MediaCache);
  private readonly problems = inject(ProblemText);
  private readonly i18n = inject(I18n);
  protected readonly t = this.i18n.t;

  readonly media = input.required<Media>();
  readonly type = input.required<MessageType>();

  protected readonly url = signal<string | null>(null);
  protected readonly loading = signal(false);
  protected readonly enlarged = signal(false);
  protected readonly problem = signal<string | null>(null);
  private readonly inView = signal(false);

  protected readonly isPicture = computed(
    () => this.type() === 'image' || this.type() === 'sticker',
  );
  protected readonly name = computed(() => {
    const { filename, voice } = this.media();
    if (filename) return filename;
    return voice ? this.t().media.voice : (this.t().media.types[this.type()] ?? '');
  });
  protected readonly details = computed(() => {
    const { size, mime_type } = this.media();
    const kilobytes = size === null ? '' : `${this.i18n.number(Math.ceil(size / 1024))} kB`;
    return [mime_type, kilobytes].filter((part) => !!part).join(' · ');
  });

  constructor() {
    const observer = new IntersectionObserver(([entry]) => {
      if (entry.isIntersecting) this.inView.set(true);
    });
    observer.observe(inject<ElementRef<HTMLElement>>(ElementRef).nativeElement);
    inject(DestroyRef).onDestroy(() => observer.disconnect());
    effect(() => {
      // One that is still being fetched is asked for again when it is here.
      const { id, status } = this.media();
      if (!this.isPicture() || !this.inView() || id === null || status === 'failed') return;
      untracked(() => void this.load());
    });
  }

  protected async load(): Promise<void> {
    const { id } = this.media();
    if (id === null || this.loading() || this.url() !== null) return;
    this.loading.set(true);
    this.problem.set(null);
    try {
      this.url.set(await this.cache.address(id));
    } catch (failure) {
      const gone = failure instanceof ApiProblem && failure.status === 410;
      this.problem.set(gone ? this.t().media.gone : this.problems.of(failure));
    } finally {
      this.loading.set(false);
    }
  }
}
