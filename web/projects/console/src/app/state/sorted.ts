/** Where `item` stands, or would stand, in a sorted list: the first place not before it. */
export function lowerBound<T>(list: readonly T[], item: T, compare: (a: T, b: T) => number) {
  let from = 0;
  let to = list.length;
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (compare(list[middle], item) < 0) from = middle + 1;
    else to = middle;
  }
  return from;
}
