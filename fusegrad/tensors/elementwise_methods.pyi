# Made of the elementwise table: write it anew with: pytest tests/api/test_stubs.py --update-golden

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from ..ops.elementwise import Function

TensorT = TypeVar("TensorT")

class ElementwiseMethods(ABC, Generic[TensorT]):
    __slots__ = ()
    @abstractmethod
    def _unary(self, function: Function) -> TensorT: ...
    @staticmethod
    @abstractmethod
    def _binary(function: Function, a: Any, b: Any) -> TensorT: ...
    @abstractmethod
    def _update(self, result: TensorT) -> TensorT: ...
    def _with(self, function: Function, other: Any) -> TensorT: ...
    def multiply(self, other: Any) -> TensorT:
        """The product of two numbers."""

    mul = multiply
    def multiply_(self, other: Any) -> TensorT:
        """The product of two numbers."""

    mul_ = multiply_
    def negative(self) -> TensorT:
        """The number with the other sign."""

    neg = negative
    def negative_(self) -> TensorT:
        """The number with the other sign."""

    neg_ = negative_
    def square(self) -> TensorT:
        """The number times itself."""

    def square_(self) -> TensorT:
        """The number times itself."""

    def positive(self) -> TensorT:
        """The number itself."""

    def conj(self) -> TensorT:
        """The complex conjugate; all numbers here are real."""

    conjugate = conj
    def deg2rad(self) -> TensorT:
        """Degrees as radians."""

    radians = deg2rad
    def deg2rad_(self) -> TensorT:
        """Degrees as radians."""

    radians_ = deg2rad_
    def rad2deg(self) -> TensorT:
        """Radians as degrees."""

    degrees = rad2deg
    def rad2deg_(self) -> TensorT:
        """Radians as degrees."""

    degrees_ = rad2deg_
    def reciprocal(self) -> TensorT:
        """One over the number."""

    def reciprocal_(self) -> TensorT:
        """One over the number."""

    def floor_divide(self, other: Any) -> TensorT:
        """The quotient, rounded down."""

    def floor_divide_(self, other: Any) -> TensorT:
        """The quotient, rounded down."""

    def remainder(self, other: Any) -> TensorT:
        """What `floor_divide` leaves; it has the sign of `x2`."""

    mod = remainder
    def remainder_(self, other: Any) -> TensorT:
        """What `floor_divide` leaves; it has the sign of `x2`."""

    mod_ = remainder_
    def fmod(self, other: Any) -> TensorT:
        """What division towards 0 leaves, with the sign of `x1`."""

    def fmod_(self, other: Any) -> TensorT:
        """What division towards 0 leaves, with the sign of `x1`."""

    def gcd(self, other: Any) -> TensorT:
        """The greatest common divisor of integers."""

    def gcd_(self, other: Any) -> TensorT:
        """The greatest common divisor of integers."""

    def lcm(self, other: Any) -> TensorT:
        """The least common multiple of integers."""

    def lcm_(self, other: Any) -> TensorT:
        """The least common multiple of integers."""

    def abs(self) -> TensorT:
        """The absolute value; the derivative at 0 is 0."""

    absolute = abs
    fabs = abs
    def abs_(self) -> TensorT:
        """The absolute value; the derivative at 0 is 0."""

    absolute_ = abs_
    fabs_ = abs_
    def sign(self) -> TensorT:
        """-1, 0 or 1."""

    def sign_(self) -> TensorT:
        """-1, 0 or 1."""

    def hypot(self, other: Any) -> TensorT:
        """sqrt(x1**2 + x2**2) without overflow."""

    def hypot_(self, other: Any) -> TensorT:
        """sqrt(x1**2 + x2**2) without overflow."""

    def copysign(self, other: Any) -> TensorT:
        """`x1` with the sign of `x2`."""

    def copysign_(self, other: Any) -> TensorT:
        """`x1` with the sign of `x2`."""

    def heaviside(self, other: Any) -> TensorT:
        """0 below 0, 1 above, `x2` at 0."""

    def heaviside_(self, other: Any) -> TensorT:
        """0 below 0, 1 above, `x2` at 0."""

    def maximum(self, other: Any) -> TensorT:
        """The larger of two; equal ones share the gradient."""

    def maximum_(self, other: Any) -> TensorT:
        """The larger of two; equal ones share the gradient."""

    def minimum(self, other: Any) -> TensorT:
        """The smaller of two; equal ones share the gradient."""

    def minimum_(self, other: Any) -> TensorT:
        """The smaller of two; equal ones share the gradient."""

    def fmax(self, other: Any) -> TensorT:
        """The larger of two; of NaN and a number the number."""

    def fmax_(self, other: Any) -> TensorT:
        """The larger of two; of NaN and a number the number."""

    def fmin(self, other: Any) -> TensorT:
        """The smaller of two; of NaN and a number the number."""

    def fmin_(self, other: Any) -> TensorT:
        """The smaller of two; of NaN and a number the number."""

    def relu(self) -> TensorT:
        """The number, or 0 if it is negative."""

    def relu_(self) -> TensorT:
        """The number, or 0 if it is negative."""

    def eq(self, other: Any) -> TensorT:
        """Whether two numbers are equal."""

    def not_equal(self, other: Any) -> TensorT:
        """Whether two numbers differ."""

    ne = not_equal
    def less(self, other: Any) -> TensorT:
        """Whether the first is smaller."""

    lt = less
    def less_equal(self, other: Any) -> TensorT:
        """Whether the first is not larger."""

    le = less_equal
    def greater(self, other: Any) -> TensorT:
        """Whether the first is larger."""

    gt = greater
    def greater_equal(self, other: Any) -> TensorT:
        """Whether the first is not smaller."""

    ge = greater_equal
    def logical_and(self, other: Any) -> TensorT:
        """Whether both are not 0."""

    def logical_or(self, other: Any) -> TensorT:
        """Whether one of two is not 0."""

    def logical_xor(self, other: Any) -> TensorT:
        """Whether exactly one of two is not 0."""

    def logical_not(self) -> TensorT:
        """Whether the number is 0."""

    def bitwise_and(self, other: Any) -> TensorT:
        """Bits that both have."""

    def bitwise_and_(self, other: Any) -> TensorT:
        """Bits that both have."""

    def bitwise_or(self, other: Any) -> TensorT:
        """Bits that one of two has."""

    def bitwise_or_(self, other: Any) -> TensorT:
        """Bits that one of two has."""

    def bitwise_xor(self, other: Any) -> TensorT:
        """Bits that one alone has."""

    def bitwise_xor_(self, other: Any) -> TensorT:
        """Bits that one alone has."""

    def bitwise_invert(self) -> TensorT:
        """The other bits."""

    bitwise_not = bitwise_invert
    invert = bitwise_invert
    def bitwise_invert_(self) -> TensorT:
        """The other bits."""

    bitwise_not_ = bitwise_invert_
    invert_ = bitwise_invert_
    def bitwise_left_shift(self, other: Any) -> TensorT:
        """Bits moved up."""

    left_shift = bitwise_left_shift
    def bitwise_left_shift_(self, other: Any) -> TensorT:
        """Bits moved up."""

    left_shift_ = bitwise_left_shift_
    def bitwise_right_shift(self, other: Any) -> TensorT:
        """Bits moved down."""

    right_shift = bitwise_right_shift
    def bitwise_right_shift_(self, other: Any) -> TensorT:
        """Bits moved down."""

    right_shift_ = bitwise_right_shift_
    def bitwise_count(self) -> TensorT:
        """How many bits are 1, of negative numbers in their size."""

    def exp(self) -> TensorT:
        """e to the power `x`."""

    def exp_(self) -> TensorT:
        """e to the power `x`."""

    def exp2(self) -> TensorT:
        """2 to the power `x`."""

    def exp2_(self) -> TensorT:
        """2 to the power `x`."""

    def expm1(self) -> TensorT:
        """exp(x) - 1, also accurate for small `x`."""

    def expm1_(self) -> TensorT:
        """exp(x) - 1, also accurate for small `x`."""

    def sigmoid(self) -> TensorT:
        """1 / (1 + exp(-x))."""

    def sigmoid_(self) -> TensorT:
        """1 / (1 + exp(-x))."""

    def log(self) -> TensorT:
        """The natural logarithm."""

    def log_(self) -> TensorT:
        """The natural logarithm."""

    def log2(self) -> TensorT:
        """The logarithm to base 2."""

    def log2_(self) -> TensorT:
        """The logarithm to base 2."""

    def log10(self) -> TensorT:
        """The logarithm to base 10."""

    def log10_(self) -> TensorT:
        """The logarithm to base 10."""

    def log1p(self) -> TensorT:
        """log(1 + x), also accurate for small `x`."""

    def log1p_(self) -> TensorT:
        """log(1 + x), also accurate for small `x`."""

    def logaddexp(self, other: Any) -> TensorT:
        """log(exp(x1) + exp(x2)) without overflow."""

    def logaddexp_(self, other: Any) -> TensorT:
        """log(exp(x1) + exp(x2)) without overflow."""

    def logaddexp2(self, other: Any) -> TensorT:
        """log2(2**x1 + 2**x2) without overflow."""

    def logaddexp2_(self, other: Any) -> TensorT:
        """log2(2**x1 + 2**x2) without overflow."""

    def float_power(self, other: Any) -> TensorT:
        """`x1` to the power `x2`, computed as float64."""

    def float_power_(self, other: Any) -> TensorT:
        """`x1` to the power `x2`, computed as float64."""

    def sqrt(self) -> TensorT:
        """The square root; the derivative at 0 is infinite."""

    def sqrt_(self) -> TensorT:
        """The square root; the derivative at 0 is infinite."""

    def rsqrt(self) -> TensorT:
        """One over the square root."""

    def rsqrt_(self) -> TensorT:
        """One over the square root."""

    def cbrt(self) -> TensorT:
        """The cube root."""

    def cbrt_(self) -> TensorT:
        """The cube root."""

    def floor(self) -> TensorT:
        """The largest integer that is not larger."""

    def floor_(self) -> TensorT:
        """The largest integer that is not larger."""

    def ceil(self) -> TensorT:
        """The smallest integer that is not smaller."""

    def ceil_(self) -> TensorT:
        """The smallest integer that is not smaller."""

    def trunc(self) -> TensorT:
        """The integer part."""

    fix = trunc
    def trunc_(self) -> TensorT:
        """The integer part."""

    fix_ = trunc_
    def round(self) -> TensorT:
        """The nearest integer; halves to the even one."""

    around = round
    rint = round
    def round_(self) -> TensorT:
        """The nearest integer; halves to the even one."""

    around_ = round_
    rint_ = round_
    def nextafter(self, other: Any) -> TensorT:
        """The number next to the first one on the way to the second."""

    def nextafter_(self, other: Any) -> TensorT:
        """The number next to the first one on the way to the second."""

    def isnan(self) -> TensorT:
        """Whether it is not a number."""

    def isinf(self) -> TensorT:
        """Whether it is infinite."""

    def isfinite(self) -> TensorT:
        """Whether it is a number."""

    def isposinf(self) -> TensorT:
        """Whether it is plus infinity."""

    def isneginf(self) -> TensorT:
        """Whether it is minus infinity."""

    def signbit(self) -> TensorT:
        """Whether the sign is minus."""

    def erf(self) -> TensorT:
        """The error function."""

    def erf_(self) -> TensorT:
        """The error function."""

    def erfc(self) -> TensorT:
        """1 - erf(x), also accurate for large `x`."""

    def erfc_(self) -> TensorT:
        """1 - erf(x), also accurate for large `x`."""

    def sin(self) -> TensorT:
        """The sine."""

    def sin_(self) -> TensorT:
        """The sine."""

    def cos(self) -> TensorT:
        """The cosine."""

    def cos_(self) -> TensorT:
        """The cosine."""

    def tan(self) -> TensorT:
        """The tangent."""

    def tan_(self) -> TensorT:
        """The tangent."""

    def asin(self) -> TensorT:
        """The inverse of the sine."""

    arcsin = asin
    def asin_(self) -> TensorT:
        """The inverse of the sine."""

    arcsin_ = asin_
    def acos(self) -> TensorT:
        """The inverse of the cosine."""

    arccos = acos
    def acos_(self) -> TensorT:
        """The inverse of the cosine."""

    arccos_ = acos_
    def atan(self) -> TensorT:
        """The inverse of the tangent."""

    arctan = atan
    def atan_(self) -> TensorT:
        """The inverse of the tangent."""

    arctan_ = atan_
    def atan2(self, other: Any) -> TensorT:
        """The angle of the point (x2, x1)."""

    arctan2 = atan2
    def atan2_(self, other: Any) -> TensorT:
        """The angle of the point (x2, x1)."""

    arctan2_ = atan2_
    def sinc(self) -> TensorT:
        """sin(pi x) / (pi x), at 0 it is 1."""

    def sinc_(self) -> TensorT:
        """sin(pi x) / (pi x), at 0 it is 1."""

    def sinh(self) -> TensorT:
        """The hyperbolic sine."""

    def sinh_(self) -> TensorT:
        """The hyperbolic sine."""

    def cosh(self) -> TensorT:
        """The hyperbolic cosine."""

    def cosh_(self) -> TensorT:
        """The hyperbolic cosine."""

    def tanh(self) -> TensorT:
        """The hyperbolic tangent."""

    def tanh_(self) -> TensorT:
        """The hyperbolic tangent."""

    def asinh(self) -> TensorT:
        """The inverse of the hyperbolic sine."""

    arcsinh = asinh
    def asinh_(self) -> TensorT:
        """The inverse of the hyperbolic sine."""

    arcsinh_ = asinh_
    def acosh(self) -> TensorT:
        """The inverse of the hyperbolic cosine."""

    arccosh = acosh
    def acosh_(self) -> TensorT:
        """The inverse of the hyperbolic cosine."""

    arccosh_ = acosh_
    def atanh(self) -> TensorT:
        """The inverse of the hyperbolic tangent."""

    arctanh = atanh
    def atanh_(self) -> TensorT:
        """The inverse of the hyperbolic tangent."""

    arctanh_ = atanh_
