// `idle`: what captured connections cost that are open and do nothing. One worker; each connection has a byte there and back
// behind it. Memory is the process's (resident), per side, as each side is a socket of the proxy.

import { echo } from "../../test/netns/harness/applications.ts";
import { Hold } from "../../test/netns/harness/hold.ts";
import { Mesh } from "../../test/netns/harness/mesh.ts";
import type { SampleBook } from "../figures.ts";

export interface IdleSettings {
  readonly rounds: number;
  /** How many are open, one step after the other. */
  readonly counts: readonly number[];
}

const port = 7000;
const subject = "culvert";
const bytesPerMegabyte = 1e6;
const extrapolatedTo = 100_000;

export async function measureIdle(
  { rounds, counts }: IdleSettings,
  book: SampleBook,
  progress: (line: string) => void,
): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    await measureRound(counts, book);
    progress(`round ${round + 1} of ${rounds}`);
  }
}

async function measureRound(counts: readonly number[], book: SampleBook): Promise<void> {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const service = mesh.service("echo", { port, endpoints: [node.pod("server").serve(echo(port))] });
  const culvert = await node.culvert({ workers: 1 });
  const hold = await Hold.start(client, port, service.ipv4, service.ipv6);
  // What the first ones cost once: compiled code, pools of sockets.
  await hold.hold(100);
  const points = [{ count: 100, bytes: culvert.residentBytes() }];
  for (const count of counts) {
    await hold.hold(count);
    const before = points.at(-1)!;
    const now = { count, bytes: culvert.residentBytes() };
    const perSide = (now.bytes - before.bytes) / (2 * (now.count - before.count));
    book.add(`idle_bytes_per_side_${count}`, "bytes", subject, perSide);
    points.push(now);
  }
  const [first, last] = [points[0]!, points.at(-1)!];
  const perConnection = (last.bytes - first.bytes) / (last.count - first.count);
  const extrapolated = last.bytes + perConnection * (extrapolatedTo - last.count);
  book.add(`idle_megabytes_${extrapolatedTo}_extrapolated`, "MB", subject, extrapolated / bytesPerMegabyte);
  await hold.hold(0);
  while ((await culvert.metrics()).sum("culvert_connections_open") > 0);
  await hold.hold(last.count);
  const again = culvert.residentBytes() - last.bytes;
  book.add(`idle_megabytes_more_when_opened_again`, "MB", subject, again / bytesPerMegabyte);
}
