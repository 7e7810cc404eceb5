import {
  afterNextRender,
  ChangeDetectionStrategy,
  Component,
  ElementRef,
  input,
  output,
  viewChild,
} from '@angular/core';

import { Icon } from './icon';

/** A modal dialog for as long as it is in the page; the browser keeps focus inside it. */
@Component({
  selector: 'cc-modal',
  imports: [Icon],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<dialog #dialog [attr.aria-label]="heading()" (cancel)="cancel($event)">
    <header>
      <h2>{{ heading() }}</h2>
      @if (closeLabel(); as label) {
        <button
          type="button"
          class="icon-button"
          [attr.aria-label]="label"
          (click)="dismissed.emit()"
        >
          <cc-icon name="close" />
        </button>
      }
    </header>
    <ng-content />
  </dialog>`,
  styles: `
    dialog {
      width: min(34rem, calc(100vw - 2rem));
      max-height: calc(100dvh - 2rem);
      padding: 1.125rem 1.25rem 1.25rem;
      border: 1px solid var(--line);
      border-radius: var(--radius);
      background: var(--panel);
      color: var(--ink);
      box-shadow: var(--shadow-high);
    }
    dialog[open] {
      animation: appear var(--slow) var(--ease);
    }
    dialog::backdrop {
      background: rgb(10 18 24 / 0.45);
    }
    header {
      display: flex;
      align-items: center;
      justify-content: space-between;
      margin-bottom: 0.75rem;
    }
    @keyframes appear {
      from {
        opacity: 0;
        transform: translateY(8px);
      }
    }
  `,
})
export class Modal {
  readonly heading = input.required<string>();
  /** Absent: it cannot be closed without an answer. */
  readonly closeLabel = input<string>();
  readonly dismissed = output<void>();

  private readonly dialog = viewChild.required<ElementRef<HTMLDialogElement>>('dialog');

  constructor() {
    afterNextRender(() => this.dialog().nativeElement.showModal());
  }

  protected cancel(event: Event): void {
    event.preventDefault();
    if (this.closeLabel()) this.dismissed.emit();
  }
}
