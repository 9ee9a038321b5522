// CE, the conversion unit of ENQ (paper A, Fig. 2(b)): a layer's codes to its values,
//   value = code << a,  a by layer.
module refq_ce #(
    parameter LAYERS = 2,
    parameter LAYER_BITS = 1,
    parameter VALUE_BITS = 12,
    parameter CODE_BITS = 5,
    parameter SHIFT_BITS = 3,
    parameter [LAYERS*SHIFT_BITS-1:0] SHIFTS = 6'o77  // as in refq_qe
) (
    input wire [LAYER_BITS-1:0] layer,
    input wire [CODE_BITS-1:0] code,
    output wire [VALUE_BITS-1:0] value
);
    wire [SHIFT_BITS-1:0] amount;
    refq_rows #(LAYERS, LAYER_BITS, SHIFT_BITS, SHIFTS) amounts (layer, amount);
    wire [VALUE_BITS+CODE_BITS-1:0] shifted = {{VALUE_BITS{1'b0}}, code} << amount;
    assign value = shifted[VALUE_BITS-1:0];
    wire unused = &{shifted[VALUE_BITS+CODE_BITS-1:VALUE_BITS]};  // of a code within its layer: 0
endmodule
