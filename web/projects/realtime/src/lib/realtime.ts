import { Component } from '@angular/core';

@Component({
  selector: 'cr-realtime',
  imports: [],
  template: ` <p>realtime works!</p> `,
  styles: ``,
})
export class Realtime {}
