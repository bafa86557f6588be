import assert from "node:assert/strict";
import { isIPv4, isIPv6 } from "node:net";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  addressFromBytes,
  addressFromWords,
  cidrContains,
  formatAddress,
  formatCidr,
  formatSocketAddress,
  type IpAddress,
  mappedPrefixLength,
  networkAddress,
  parseAddress,
  parseCidr,
  sameAddress,
  unroutableKind,
  writeAddress,
} from "../../../src/mesh/address.ts";
import { anyAddress } from "./arbitraries.ts";

const bits = ({ words }: IpAddress) => words.reduce((all, word) => (all << 32n) | BigInt(word), 0n);

describe("an IP address", () => {
  test("is the same after it was formatted and parsed", () => {
    fc.assert(
      fc.property(anyAddress, (address) => {
        assert.deepEqual(parseAddress(formatAddress(address)), address);
      }),
    );
  });

  test("is the same after it was written to 16 bytes and read", () => {
    fc.assert(
      fc.property(anyAddress, fc.nat(9), (address, offset) => {
        const bytes = new Uint8Array(40).fill(0xdb);
        writeAddress(address, bytes.subarray(3), offset);
        assert.deepEqual(addressFromBytes(bytes.subarray(3), offset), address);
        assert.equal(bytes[2 + offset], 0xdb);
        assert.equal(bytes[3 + offset + 16], 0xdb);
      }),
    );
  });

  test("is written in network order", () => {
    const bytes = new Uint8Array(16);
    writeAddress(parseAddress("10.1.2.3")!, bytes);
    assert.deepEqual([...bytes], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3]);
  });

  test("is accepted as text exactly when the C library accepts it", () => {
    const text = fc.oneof(
      fc.string({ unit: fc.constantFrom("0", "1", "9", "f", ":", "::", ".", "25", "ffff", "10.0.0.1"), maxLength: 12 }),
      fc.ipV6(),
      fc.ipV4Extended(),
    );
    fc.assert(
      fc.property(text, (it) => {
        const expected = isIPv4(it) || isIPv6(it);
        assert.equal(parseAddress(it) !== undefined, expected, it);
      }),
      { numRuns: 5000 },
    );
  });

  for (const text of [
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4::5:6:7:8", // "::" stands for no group
    "1::2::3",
    ":::",
    "1:2:3:4:5:6:7:",
    "::10.0.0.1:1",
    "fe80::1%eth0",
    "::00001",
    "010.0.0.1",
    "10.0.0.256",
    "10.0.1",
    " 10.0.0.1",
    "",
  ]) {
    test(`is not "${text}"`, () => assert.equal(parseAddress(text), undefined));
  }

  test("in its v4-mapped form is the IPv4 address", () => {
    assert.deepEqual(parseAddress("::ffff:10.0.0.1"), parseAddress("10.0.0.1"));
    assert.equal(formatAddress(parseAddress("::ffff:a00:1")!), "10.0.0.1");
  });

  // RFC 5952 §4 and its examples.
  for (const [text, canonical] of [
    ["2001:0db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:DB8::1", "2001:db8::1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["0:0:0:0:0:0:0:0", "::"],
    ["1:0:0:0:0:0:0:0", "1::"],
    ["64:ff9b::192.0.2.1", "64:ff9b::c000:201"],
  ] as const) {
    test(`${text} is shown as ${canonical}`, () => {
      assert.equal(formatAddress(parseAddress(text)!), canonical);
    });
  }

  test("with a port has brackets in IPv6 only", () => {
    assert.equal(formatSocketAddress(parseAddress("10.0.0.1")!, 80), "10.0.0.1:80");
    assert.equal(formatSocketAddress(parseAddress("fd00::1")!, 80), "[fd00::1]:80");
  });

  test("takes signed words for the unsigned ones that they are", () => {
    assert.deepEqual(addressFromWords(-1, -2, 3, -2147483648).words, [0xffffffff, 0xfffffffe, 3, 0x80000000]);
  });

  for (const [text, kind] of [
    ["0.0.0.0", "unspecified"],
    ["0.1.2.3", "unspecified"],
    ["127.0.0.1", "loopback"],
    ["127.255.255.255", "loopback"],
    ["224.0.0.1", "multicast"],
    ["239.255.255.255", "multicast"],
    ["255.255.255.255", "broadcast"],
    ["::", "unspecified"],
    ["::1", "loopback"],
    ["ff02::1", "multicast"],
    ["fe80::1", "link-local"],
    ["febf::1", "link-local"],
    ["128.0.0.1", undefined],
    ["240.0.0.1", undefined],
    ["::2", undefined],
    ["fec0::1", undefined],
    ["fd00::1", undefined],
  ] as const) {
    test(`${text} is ${kind ?? "fit for a pod"}`, () => assert.equal(unroutableKind(parseAddress(text)!), kind));
  }
});

describe("a network", () => {
  const cidr = fc.tuple(anyAddress, fc.nat(128)).map(([address, length]) => ({
    address,
    prefixLength: address.family === 4 ? length % 33 : length,
  }));

  test("contains exactly the addresses that begin with its prefix", () => {
    const nearby = (of: IpAddress) =>
      fc.oneof(
        anyAddress,
        fc.nat(127).map((bit) => flip(of, bit)),
      );
    fc.assert(
      fc.property(
        cidr.chain((network) => fc.tuple(fc.constant(network), nearby(network.address))),
        ([network, address]) => {
          const hostBits = BigInt(128 - mappedPrefixLength(network));
          const expected = bits(address) >> hostBits === bits(network.address) >> hostBits;
          assert.equal(cidrContains(network, address), expected);
        },
      ),
      { numRuns: 1000 },
    );
  });

  test("has a first address: the prefix followed by zeros", () => {
    fc.assert(
      fc.property(cidr, (network) => {
        const hostBits = BigInt(128 - mappedPrefixLength(network));
        assert.equal(bits(networkAddress(network)), (bits(network.address) >> hostBits) << hostBits);
        assert.ok(cidrContains(network, networkAddress(network)));
      }),
    );
  });

  test("is the same after it was formatted and parsed", () => {
    fc.assert(fc.property(cidr, (network) => assert.deepEqual(parseCidr(formatCidr(network)), network)));
  });

  for (const text of [
    "10.0.0.0/33",
    "10.0.0.0/",
    "10.0.0.0/08",
    "10.0.0.0/-1",
    "10.0.0.0/8/8",
    "fd00::/129",
    "/8",
    "",
  ]) {
    test(`is not "${text}"`, () => assert.equal(parseCidr(text), undefined));
  }

  test("of one address needs no prefix length", () => {
    assert.equal(formatCidr(parseCidr("10.0.0.1")!), "10.0.0.1/32");
    assert.equal(formatCidr(parseCidr("fd00::1")!), "fd00::1/128");
  });
});

test("two addresses are the same when all words are", () => {
  fc.assert(
    fc.property(anyAddress, fc.nat(127), (address, bit) => {
      assert.ok(sameAddress(address, addressFromWords(...address.words)));
      assert.ok(!sameAddress(address, flip(address, bit)));
    }),
  );
});

function flip(address: IpAddress, bit: number): IpAddress {
  const [w0, w1, w2, w3] = address.words.map((word, i) => (i === bit >>> 5 ? word ^ (1 << (bit & 31)) : word));
  return addressFromWords(w0!, w1!, w2!, w3!);
}
