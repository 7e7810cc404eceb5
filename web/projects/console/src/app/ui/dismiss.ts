import { Directive, ElementRef, inject, output } from '@angular/core';

/** Tells when a panel should close: Escape, or a click or focus outside of it. */
@Directive({
  selector: '[ccDismiss]',
  host: {
    '(document:pointerdown)': 'outside($event)',
    '(focusout)': 'left($event)',
    '(keydown.escape)': 'escape($event)',
  },
})
export class Dismiss {
  private readonly element = inject<ElementRef<HTMLElement>>(ElementRef).nativeElement;
  readonly ccDismiss = output<void>();

  protected outside({ target }: PointerEvent): void {
    if (target instanceof Node && !this.element.contains(target)) this.ccDismiss.emit();
  }

  protected left({ relatedTarget }: FocusEvent): void {
    if (relatedTarget instanceof Node && !this.element.contains(relatedTarget)) {
      this.ccDismiss.emit();
    }
  }

  protected escape(event: Event): void {
    event.stopPropagation();
    this.element.querySelector<HTMLElement>('[aria-expanded="true"]')?.focus();
    this.ccDismiss.emit();
  }
}
