// Which objects of a namespace have certain labels. A look-up costs as much as the rarest of the labels has objects, so that
// thousands of selectors over thousands of workloads are no product of the two.

export interface Labelled {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

export class LabelIndex<T extends Labelled> {
  readonly #byLabel: Map<string, T[]>;

  constructor(objects: Iterable<T>) {
    this.#byLabel = new Map();
    for (const object of objects) {
      for (const [key, value] of Object.entries(object.labels)) {
        const place = placeOf(object.namespace, key, value);
        const there = this.#byLabel.get(place);
        if (there === undefined) this.#byLabel.set(place, [object]);
        else there.push(object);
      }
    }
  }

  /** Those that have all of the labels, in the order in which they were given. None for an empty selector. */
  select(namespace: string, selector: Readonly<Record<string, string>>): readonly T[] {
    const wanted = Object.entries(selector);
    let rarest: readonly T[] | undefined;
    for (const [key, value] of wanted) {
      const there = this.#byLabel.get(placeOf(namespace, key, value)) ?? [];
      if (rarest === undefined || there.length < rarest.length) rarest = there;
    }
    if (rarest === undefined || wanted.length === 1) return rarest ?? [];
    return rarest.filter((it) => wanted.every(([key, value]) => it.labels[key] === value));
  }
}

function placeOf(namespace: string, key: string, value: string): string {
  return `${namespace} ${key} ${value}`;
}
