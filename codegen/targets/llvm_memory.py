"""Loads and stores: scalar, contiguous, reversed, strided, scattered, masked.

Knows addresses and masks; knows no loops.
"""

from __future__ import annotations

from ..dtypes import DType, bool_
from ..expr import Buffer, Expr, Load
from .llvm_address import Address, Addresses, Mask, lane_numbers, memory_type
from .llvm_builder import Value

__all__ = ["Memory"]

_LINE = 64
_STRETCHES = 4
"""Loads of parts of a vector that take less than one of each lane."""


class Memory(Addresses):
    """Loads and stores, on top of addresses."""

    # --- masks ------------------------------------------------------------------------------------

    def prefix_mask(self, alive: int | str, lanes: int, depth: int | None = None) -> Mask:
        """The first `alive` of `lanes`: a number, or the text of an int64 from 0 to `lanes`."""
        if isinstance(alive, int):
            bits = ", ".join("i1 true" if i < alive else "i1 false" for i in range(lanes))
            return Mask(f"<{bits}>", alive)
        narrow = self.emit(f"trunc i64 {alive} to i32", depth)
        count = self.splat("i32", narrow, lanes, depth)
        kind = f"<{lanes} x i32>"
        numbers = f"<{', '.join(f'i32 {i}' for i in range(lanes))}>"
        return Mask(self.emit(f"icmp slt {kind} {numbers}, {count}", depth), alive)

    def masked_load(self, dtype: DType, lanes: int, pointer: str, mask: str, depth: int) -> str:
        """A vector in its memory type; dead lanes are zero and not read."""
        kind, suffix = self._vector(dtype, lanes)
        self.declarations.add(
            f"declare {kind} @llvm.masked.load.{suffix}.p0(ptr, <{lanes} x i1>, {kind})"
        )
        return self.emit(
            f"call {kind} @llvm.masked.load.{suffix}.p0(ptr align {dtype.itemsize} {pointer}, "
            f"<{lanes} x i1> {mask}, {kind} zeroinitializer)",
            depth,
        )

    def masked_store(self, dtype: DType, lanes: int, value: str, pointer: str, mask: str) -> None:
        """Store the lanes of `value` (in its memory type) that are alive."""
        kind, suffix = self._vector(dtype, lanes)
        self.declarations.add(
            f"declare void @llvm.masked.store.{suffix}.p0({kind}, ptr, <{lanes} x i1>)"
        )
        self.put(
            f"call void @llvm.masked.store.{suffix}.p0({kind} {value}, "
            f"ptr align {dtype.itemsize} {pointer}, <{lanes} x i1> {mask})"
        )

    def _vector(self, dtype: DType, lanes: int) -> tuple[str, str]:
        """The memory type of a vector, and its suffix in names of intrinsics."""
        real = dtype.is_float and not dtype.is_half
        letter = "f" if real else "i"
        bits = 8 * dtype.itemsize
        scalar = ("float" if bits == 32 else "double") if real else f"i{bits}"
        return f"<{lanes} x {scalar}>", f"v{lanes}{letter}{bits}"

    def _cheap_mask(self, dtype: DType) -> bool:
        """Whether the target has masked loads and stores of this width."""
        wide = dtype.itemsize >= 4 or self.target.vector_bytes == 64
        return self.target.masked_memory and wide

    def alignment(self, buffer: Buffer, address: Address, lanes: int) -> int:
        """The alignment in bytes that an access surely has; the CPU asks for no more."""
        return buffer.dtype.itemsize

    # --- loads ------------------------------------------------------------------------------------

    def load(self, expr: Load) -> Value:
        """The value of a load, put as far outside as it may stand."""
        buffer = expr.buffer
        address = self.address(buffer, expr.indices)
        vector = self.vector
        depth = max(address.depth, self.load_depth(buffer), self.pure_barrier)
        reads = address.reads | {buffer} if buffer in self.mutable else address.reads
        if address.uniform or vector is None:
            text = self.scalar_load(buffer, address, depth)
            return Value(text, buffer.dtype, 0, depth, reads=reads)
        depth = max(depth, vector.depth)
        text = self.vector_load(buffer, address, vector.lanes, vector.mask, depth)
        return Value(text, buffer.dtype, vector.lanes, depth, reads=reads)

    def scalar_load(self, buffer: Buffer, address: Address, depth: int) -> str:
        """One element, in its register type."""
        pointer = self.element(address.pointer, buffer, address.constant, depth)
        align = self.alignment(buffer, address, 1)
        text = self.emit(f"load {memory_type(buffer)}, ptr {pointer}, align {align}", depth)
        if buffer.dtype is bool_:
            text = self.emit(f"icmp ne i8 {text}, 0", depth)
        return text

    def vector_load(
        self, buffer: Buffer, address: Address, lanes: int, mask: Mask | None, depth: int
    ) -> str:
        """A vector, in its register type."""
        dtype = buffer.dtype
        if address.index is None and address.stride == 1:
            text = self._contiguous_load(buffer, address, lanes, mask, depth)
        elif address.index is None and address.stride == -1 and mask is None:
            text = self._reversed_load(buffer, address, lanes, depth)
        elif address.index is None and mask is None and self._interleaves(address, lanes):
            text = self._every_few(buffer, address, lanes, depth)
        elif address.pattern is not None and (mask is None or isinstance(mask.alive, int)):
            text = self._patterned(buffer, address, lanes, mask, depth)
        elif mask is not None and mask.alive is None:
            text = self._masked_gather(buffer, address, lanes, mask, depth)
        else:
            text = self._gather(buffer, address, lanes, mask, depth)
        if dtype is bool_:
            kind, _ = self._vector(dtype, lanes)
            text = self.emit(f"icmp ne {kind} {text}, zeroinitializer", depth)
        return text

    def _contiguous_load(
        self, buffer: Buffer, address: Address, lanes: int, mask: Mask | None, depth: int
    ) -> str:
        dtype = buffer.dtype
        if mask is not None and mask.alive is not None and not self._cheap_mask(dtype):
            return self._gather(buffer, address, lanes, mask, depth)
        pointer = self.element(address.pointer, buffer, address.constant, depth)
        if mask is not None:
            return self.masked_load(dtype, lanes, pointer, mask.text, depth)
        kind, _ = self._vector(dtype, lanes)
        align = self.alignment(buffer, address, lanes)
        return self.emit(f"load {kind}, ptr {pointer}, align {align}", depth)

    def _reversed_load(self, buffer: Buffer, address: Address, lanes: int, depth: int) -> str:
        kind, _ = self._vector(buffer.dtype, lanes)
        first = address.constant - lanes + 1
        pointer = self.element(address.pointer, buffer, first, depth)
        text = self.emit(f"load {kind}, ptr {pointer}, align {buffer.dtype.itemsize}", depth)
        order = f"<{', '.join(f'i32 {i}' for i in range(lanes - 1, -1, -1))}>"
        return self.emit(
            f"shufflevector {kind} {text}, {kind} poison, <{lanes} x i32> {order}", depth
        )

    def _interleaves(self, address: Address, lanes: int) -> bool:
        """Whether whole vectors that lie between the lanes' elements are worth loading."""
        return isinstance(address.stride, int) and 2 <= address.stride <= 4 and lanes >= 4

    def _every_few(self, buffer: Buffer, address: Address, lanes: int, depth: int) -> str:
        """Every second to fourth element: whole vectors, and shuffles that pick from them.

        The last vector ends at the last element that is wanted, so nothing behind it is read.
        """
        stride = address.stride
        assert isinstance(stride, int)
        kind, _ = self._vector(buffer.dtype, lanes)
        starts = [lanes * k for k in range(stride - 1)] + [(lanes - 1) * (stride - 1)]
        parts = []
        for start in starts:
            pointer = self.element(address.pointer, buffer, address.constant + start, depth)
            load = f"load {kind}, ptr {pointer}, align {buffer.dtype.itemsize}"
            parts.append(self.emit(load, depth))
        sources = [min(lane * stride // lanes, stride - 1) for lane in range(lanes)]
        text = parts[0]
        for number in range(1, stride):
            order = []
            for lane, source in enumerate(sources):
                at = lane * stride - starts[source]
                if source == number:
                    order.append(f"i32 {lanes + at}")
                elif source < number:
                    order.append(f"i32 {at if number == 1 else lane}")
                else:
                    order.append("i32 poison")
            text = self.emit(
                f"shufflevector {kind} {text}, {kind} {parts[number]}, "
                f"<{lanes} x i32> <{', '.join(order)}>",
                depth,
            )
        return text

    def _patterned(
        self, buffer: Buffer, address: Address, lanes: int, mask: Mask | None, depth: int
    ) -> str:
        """Lanes whose offsets are numbers: the stretches they lie in, and shuffles that pick."""
        assert address.pattern is not None
        alive = address.pattern if mask is None else address.pattern[: int(mask.alive or 0)]
        stretches: list[list[int]] = []
        for offset in sorted(set(alive)):
            if stretches and offset - stretches[-1][0] < lanes:
                stretches[-1].append(offset)
            else:
                stretches.append([offset])
        if len(stretches) > _STRETCHES:
            return self._gather(buffer, address, lanes, mask, depth)
        scalar, size = memory_type(buffer), buffer.dtype.itemsize
        text = ""
        for first, *more in stretches:
            length = (more[-1] if more else first) - first + 1
            pointer = self.element(address.pointer, buffer, address.constant + first, depth)
            load = f"load <{length} x {scalar}>, ptr {pointer}, align {size}"
            part = self.emit(load, depth)
            places = [o - first if first <= o < first + length else -1 for o in alive]
            places += [-1] * (lanes - len(places))
            order = ", ".join(f"i32 {p}" if p >= 0 else "i32 poison" for p in places)
            kind = f"<{length} x {scalar}>"
            spread = self.emit(
                f"shufflevector {kind} {part}, {kind} poison, <{lanes} x i32> <{order}>", depth
            )
            if text:
                whole = f"<{lanes} x {scalar}>"
                chosen = ", ".join(
                    f"i32 {lanes + n if p >= 0 else n}" for n, p in enumerate(places)
                )
                spread = self.emit(
                    f"shufflevector {whole} {text}, {whole} {spread}, <{lanes} x i32> <{chosen}>",
                    depth,
                )
            text = spread
        return text

    def _lane_offset(self, address: Address, lane: int | str, depth: int) -> int | str:
        """What lane number `lane` adds to the pointer of an evenly spaced address."""
        if isinstance(lane, int) and isinstance(address.stride, int):
            return address.constant + lane * address.stride
        if lane == 0:
            return address.constant
        text = str(lane)
        if address.stride != 1:
            text = self.emit(f"mul nsw i64 {lane}, {address.stride}", depth)
        return (
            self.emit(f"add nsw i64 {text}, {address.constant}", depth)
            if address.constant
            else text
        )

    def _lane_offsets(
        self, address: Address, lanes: int, mask: Mask | None, depth: int
    ) -> list[int | str]:
        """The offset of each lane; dead lanes repeat one that is alive, or are left out."""
        alive = None if mask is None else mask.alive
        count = alive if isinstance(alive, int) else lanes
        offsets: list[int | str] = []
        last = ""
        if isinstance(alive, str):
            last = self.emit(f"sub i64 {alive}, 1", depth)
        for lane in range(count):
            at: int | str = lane
            if last and lane:
                at = self.emit(
                    self.intrinsic("i64", "smin.i64", ["i64", "i64"], [str(lane), last]), depth
                )
            if address.index is None:
                offsets.append(self._lane_offset(address, at, depth))
                continue
            kind = f"<{lanes} x i64>"
            text = self.emit(f"extractelement {kind} {address.index}, i64 {at}", depth)
            if address.constant:
                text = self.emit(f"add nsw i64 {text}, {address.constant}", depth)
            offsets.append(text)
        return offsets

    def _gather(
        self, buffer: Buffer, address: Address, lanes: int, mask: Mask | None, depth: int
    ) -> str:
        """Lane by lane; a dead lane reads what another lane reads, or nothing."""
        kind, _ = self._vector(buffer.dtype, lanes)
        scalar, size = memory_type(buffer), buffer.dtype.itemsize
        text = "zeroinitializer"
        if mask is None or not isinstance(mask.alive, int):
            text = "poison"
        for lane, offset in enumerate(self._lane_offsets(address, lanes, mask, depth)):
            pointer = self.element(address.pointer, buffer, offset, depth)
            item = self.emit(f"load {scalar}, ptr {pointer}, align {size}", depth)
            text = self.emit(f"insertelement {kind} {text}, {scalar} {item}, i64 {lane}", depth)
        return text

    def _pointers(self, buffer: Buffer, address: Address, lanes: int, depth: int) -> str:
        """The addresses of all lanes as a vector of pointers."""
        index = address.index
        if index is None:
            steps = self.spread(address.stride, lanes, depth)
            index = self.emit(f"mul nsw <{lanes} x i64> {lane_numbers(lanes)}, {steps}", depth)
        pointer = self.element(address.pointer, buffer, address.constant, depth)
        return self.emit(
            f"getelementptr {memory_type(buffer)}, ptr {pointer}, <{lanes} x i64> {index}", depth
        )

    def _masked_gather(
        self, buffer: Buffer, address: Address, lanes: int, mask: Mask, depth: int
    ) -> str:
        kind, suffix = self._vector(buffer.dtype, lanes)
        name = f"@llvm.masked.gather.{suffix}.v{lanes}p0"
        self.declarations.add(f"declare {kind} {name}(<{lanes} x ptr>, <{lanes} x i1>, {kind})")
        pointers = self._pointers(buffer, address, lanes, depth)
        return self.emit(
            f"call {kind} {name}(<{lanes} x ptr> align {buffer.dtype.itemsize} {pointers}, "
            f"<{lanes} x i1> {mask.text}, {kind} zeroinitializer)",
            depth,
        )

    def prefetch(self, buffer: Buffer, indices: tuple[Expr, ...]) -> None:
        """Ask for the cache lines that the lanes' elements begin, into the second level.

        The first one is small, and rows a power of two apart share a few places in it.
        """
        address = self.address(buffer, indices)
        lanes = self.vector.lanes if self.vector is not None else 1
        self.declarations.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        for line in range(0, max(1, lanes * buffer.dtype.itemsize), _LINE):
            offset = address.constant + line // buffer.dtype.itemsize
            pointer = self.element(address.pointer, buffer, offset, None)
            self.put(f"call void @llvm.prefetch.p0(ptr {pointer}, i32 0, i32 2, i32 1)")

    # --- stores -----------------------------------------------------------------------------------

    def store(
        self, buffer: Buffer, indices: tuple[Expr, ...], value: Value, nontemporal: bool
    ) -> None:
        """``buffer[indices] = value`` at the innermost level."""
        address = self.address(buffer, indices)
        vector = self.vector
        if vector is None or (address.uniform and not value.lanes):
            self.scalar_store(buffer, address, value.text)
        else:
            text = self.operand(value, vector.lanes)
            self.vector_store(buffer, address, text, vector.lanes, vector.mask, nontemporal)

    def scalar_store(self, buffer: Buffer, address: Address, text: str) -> None:
        """One element, from its register type."""
        pointer = self.element(address.pointer, buffer, address.constant, None)
        if buffer.dtype is bool_:
            text = self.emit(f"zext i1 {text} to i8")
        align = self.alignment(buffer, address, 1)
        self.put(f"store {memory_type(buffer)} {text}, ptr {pointer}, align {align}")

    def vector_store(
        self,
        buffer: Buffer,
        address: Address,
        text: str,
        lanes: int,
        mask: Mask | None,
        nontemporal: bool = False,
    ) -> None:
        """A vector, from its register type."""
        dtype = buffer.dtype
        kind, _ = self._vector(dtype, lanes)
        if dtype is bool_:
            text = self.emit(f"zext <{lanes} x i1> {text} to {kind}")
        contiguous = address.index is None and address.stride == 1
        if contiguous and mask is None:
            pointer = self.element(address.pointer, buffer, address.constant, None)
            if nontemporal:
                self.metadata_nontemporal = True
                size = lanes * dtype.itemsize
                self.put(f"store {kind} {text}, ptr {pointer}, align {size}, !nontemporal !0")
            else:
                align = self.alignment(buffer, address, lanes)
                self.put(f"store {kind} {text}, ptr {pointer}, align {align}")
        elif contiguous and mask is not None and mask.alive != 1 and self._cheap_mask(dtype):
            # Not of one lane: LLVM stores that of a truncated vector in the wide type.
            pointer = self.element(address.pointer, buffer, address.constant, None)
            self.masked_store(dtype, lanes, text, pointer, mask.text)
        else:
            self._scatter(buffer, address, text, lanes, mask)

    def _scatter(
        self, buffer: Buffer, address: Address, text: str, lanes: int, mask: Mask | None
    ) -> None:
        """Lane by lane, in order; dead lanes are skipped."""
        kind, _ = self._vector(buffer.dtype, lanes)
        scalar, size = memory_type(buffer), buffer.dtype.itemsize
        for lane in range(lanes):
            condition = self.lane_alive(lane, lanes, mask)
            if condition == "false":
                break
            name = self.begin_if() if condition else ""
            item = self.emit(f"extractelement {kind} {text}, i64 {lane}")
            offset = self.lane_offset(address, lane, lanes)
            pointer = self.element(address.pointer, buffer, offset, None)
            self.put(f"store {scalar} {item}, ptr {pointer}, align {size}")
            if condition:
                self.end_if(name, condition)

    def lane_offset(self, address: Address, lane: int, lanes: int) -> int | str:
        """The offset of one lane, written at the innermost level."""
        if address.index is None:
            return self._lane_offset(address, lane, self.depth)
        kind = f"<{lanes} x i64>"
        text = self.emit(f"extractelement {kind} {address.index}, i64 {lane}")
        if not address.constant:
            return text
        return self.emit(f"add nsw i64 {text}, {address.constant}")

    def lane_address(self, buffer: Buffer, address: Address, lane: int, lanes: int) -> Address:
        """The address of one lane, as a scalar's."""
        offset = self.lane_offset(address, lane, lanes)
        pointer = self.element(address.pointer, buffer, offset, None)
        return Address(pointer, 0, 0, None, self.depth, address.reads)

    def lane_alive(self, lane: int, lanes: int, mask: Mask | None) -> str:
        """A condition text; empty when the lane is surely alive, ``false`` when surely dead."""
        if mask is None:
            return ""
        if isinstance(mask.alive, int):
            return "" if lane < mask.alive else "false"
        if isinstance(mask.alive, str):
            return self.emit(f"icmp sgt i64 {mask.alive}, {lane}") if lane else ""
        return self.emit(f"extractelement <{lanes} x i1> {mask.text}, i64 {lane}")
