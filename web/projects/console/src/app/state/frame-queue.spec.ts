import { FrameClock, FrameQueue } from './frame-queue';

function clock(hidden = false) {
  const frames: (() => void)[] = [];
  const timers: (() => void)[] = [];
  const fake: FrameClock = {
    isHidden: () => hidden,
    requestFrame: (callback) => void frames.push(callback),
    setTimer: (callback) => void timers.push(callback),
  };
  return { fake, frames, timers };
}

describe('FrameQueue', () => {
  it('hands over all of a frame at once, in order', () => {
    const { fake, frames } = clock();
    const batches: (readonly number[])[] = [];
    const queue = new FrameQueue<number>((batch) => batches.push(batch), fake);
    [1, 2, 3].forEach((item) => queue.push(item));
    expect(batches).toEqual([]);
    frames.forEach((frame) => frame());
    expect(batches).toEqual([[1, 2, 3]]);
    expect(frames).toHaveLength(1);
  });

  it('does not wait for frames of a hidden page', () => {
    const { fake, frames, timers } = clock(true);
    const batches: (readonly number[])[] = [];
    const queue = new FrameQueue<number>((batch) => batches.push(batch), fake);
    queue.push(1);
    expect(frames).toHaveLength(0);
    timers.forEach((timer) => timer());
    expect(batches).toEqual([[1]]);
  });

  it('hands nothing over twice', () => {
    const { fake, frames, timers } = clock();
    const batches: (readonly number[])[] = [];
    const queue = new FrameQueue<number>((batch) => batches.push(batch), fake);
    queue.push(1);
    frames.forEach((frame) => frame());
    timers.forEach((timer) => timer());
    expect(batches).toEqual([[1]]);
  });
});
